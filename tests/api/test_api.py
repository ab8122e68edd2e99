"""The API as a caller sees it: real verbs, real store, real HTTP; only what runs things stands in."""

from __future__ import annotations

import json
import logging
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import projects
from app.api import BODY_LIMIT
from app.appliance import Appliance
from tests.nouns import claimed, live
from tests.serving import new_box, served, tar_of

PROBLEM = "application/problem+json"


@pytest.fixture
def shop(api: httpx.Client) -> str:
    assert api.post("/projects", json={"slug": "shop"}).status_code == 201
    return "shop"


def problem(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == PROBLEM
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    return document


def test_health_says_that_the_store_can_be_written(api: httpx.Client, box: Appliance) -> None:
    answer = api.get("/health").json()

    assert answer == {
        "status": "ok",
        "version": answer["version"],
        "pid": os.getpid(),
        "data": box.settings.data,
        "base_url": "http://localhost:8080",
    }


def test_a_project_comes_and_goes(api: httpx.Client, shop: str) -> None:
    listed = api.get("/projects").json()

    assert [(line["project"]["slug"], line["state"]) for line in listed["items"]] == [("shop", "empty")]
    assert listed["next_cursor"] is None
    assert api.get("/projects/shop/status").json()["url"] == "http://shop.localhost:8080"
    assert api.delete("/projects/shop").status_code == 204
    assert api.get("/projects").json()["items"] == []


def test_the_actor_is_the_account_at_the_other_end_of_the_socket(api: httpx.Client, shop: str) -> None:
    events = api.get("/events").json()["items"]

    assert {event["actor"] for event in events if event["action"] == "project.created"} == {pwd.getpwuid(os.getuid()).pw_name}


def test_an_error_of_ours_is_a_problem_document(api: httpx.Client) -> None:
    assert problem(api.get("/projects/nope")) == {
        "type": "urn:homeport:problem:not-found",
        "title": "Not found",
        "status": 404,
        "detail": problem(api.get("/projects/nope"))["detail"],
        "code": "not-found",
        "hint": "`homeport projects list` shows what there is.",
        "extra": {},
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"slug": "Shop"}, "/slug"), ({"slug": "shop", "colour": "red"}, ""), ({}, ""), ({"slug": "s", "git_url": 3}, "/git_url")],
)
def test_a_value_of_the_wrong_shape_names_its_field(api: httpx.Client, body: dict[str, Any], pointer: str) -> None:
    document = problem(api.post("/projects", json=body))

    assert (document["status"], document["code"]) == (422, "bad-input")
    assert [error["pointer"] for error in document["extra"]["errors"]] == [pointer]
    assert document["extra"]["errors"][0]["message"] in document["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("PUT", "/projects", 405, "method-not-allowed"),
        ("GET", "/projects?limit=0", 422, "bad-input"),
        ("GET", "/projects?limit=501", 422, "bad-input"),
        ("GET", "/events?cursor=-1", 422, "bad-input"),
        ("GET", "/projects/a/deployments/one", 404, "not-found"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_too(api: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    document = problem(api.request(method, path))

    assert (document["status"], document["code"]) == (status, code)


def test_malformed_json_is_400(api: httpx.Client) -> None:
    answer = api.post("/projects", content=b'{"slug"', headers={"content-type": "application/json"})

    assert (problem(answer)["status"], problem(answer)["code"]) == (400, "bad-input")


def test_a_body_over_the_cap_is_refused_everywhere_but_in_uploads(api: httpx.Client, shop: str) -> None:
    large = "x" * BODY_LIMIT
    refused = problem(api.post("/projects", json={"slug": "other", "git_url": large}))
    archive = tar_of({"large.txt": large.encode() + b"x"})

    assert (refused["status"], refused["code"]) == (413, "too-large")
    assert api.post("/projects/shop/uploads", content=archive, headers={"content-type": "application/x-tar"}).status_code == 201


def test_an_unforeseen_error_tells_the_caller_nothing_and_the_log_everything(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Appliance) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr(projects, "index", broken)
    with caplog.at_level(logging.ERROR, "homeport.api"):
        answer = api.get("/projects")

    assert (problem(answer)["status"], problem(answer)["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "the secret of the house" in caplog.text


def test_an_upload_becomes_a_commit_that_can_be_deployed(api: httpx.Client, box: Appliance, shop: str) -> None:
    archive = tar_of({"index.html": b"hello", "sub/a.txt": b"a" * 300_000})

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(archive), 7001):
            yield archive[at : at + 7001]

    headers = {"content-type": "application/x-tar"}
    answer = api.post("/projects/shop/uploads?message=first%20one&dirty=true", content=chunks(), headers=headers)
    commit = answer.json()["commit"]
    deployed = api.post("/projects/shop/deployments", json={"commit": commit, "message": "m", "dirty": True})

    assert answer.status_code == 201
    assert deployed.status_code == 202
    assert (deployed.json()["commit"], deployed.json()["status"], deployed.json()["number"]) == (commit, "queued", 1)
    assert deployed.json()["dirty"] is True


def test_an_upload_over_the_limit_is_refused_while_it_arrives(tmp_path: Path, data_folder: Path) -> None:
    box = new_box(tmp_path / "data", {"upload_limit": 100_000})
    with (
        served(box, data_folder / "api.sock") as socket,
        httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://homeport/v1", timeout=20) as client,
    ):
        client.post("/projects", json={"slug": "shop"})
        answer = client.post(
            "/projects/shop/uploads",
            content=iter([tar_of({"a": b"x" * 60_000}), b"y" * 60_000]),
            headers={"content-type": "application/x-tar"},
        )

        assert (problem(answer)["status"], problem(answer)["code"]) == (413, "too-large")
    box.store.close()


def test_an_upload_must_say_that_it_is_a_tar(api: httpx.Client, shop: str) -> None:
    assert problem(api.post("/projects/shop/uploads", content=b"PK"))["code"] == "bad-input"


def test_the_same_idempotency_key_deploys_once(api: httpx.Client, box: Appliance, shop: str) -> None:
    archive = api.post("/projects/shop/uploads", content=tar_of({"a": b"a"}), headers={"content-type": "application/x-tar"})
    body = {"commit": archive.json()["commit"]}
    key = {"Idempotency-Key": "k1"}

    first = api.post("/projects/shop/deployments", json=body, headers=key)
    again = api.post("/projects/shop/deployments", json=body, headers=key)
    other = api.post("/projects/shop/deployments", json={**body, "message": "other"}, headers=key)
    without = api.post("/projects/shop/deployments", json=body)

    assert first.json() == again.json()
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert problem(other)["status"] == 422
    assert without.json()["number"] == 2


def test_lists_are_pages_with_a_cursor(api: httpx.Client, box: Appliance, shop: str) -> None:
    environment = box.store.environments.of(box.store.projects.named("shop"))
    for _ in range(5):
        live(box.store, environment)

    pages, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/projects/shop/deployments?limit=2{cursor}").json()
        pages.append([item["number"] for item in page["items"]])
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"

    assert pages == [[5, 4], [3, 2], [1]]


def test_pages_of_projects_follow_their_names(api: httpx.Client) -> None:
    for slug in ("c", "a", "b"):
        api.post("/projects", json={"slug": slug})

    first = api.get("/projects?limit=2").json()
    second = api.get(f"/projects?limit=2&cursor={first['next_cursor']}").json()

    assert [line["project"]["slug"] for line in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


def test_events_of_one_project_follow_a_cursor(api: httpx.Client, shop: str) -> None:
    api.post("/projects", json={"slug": "other"})
    first = api.get("/events?limit=1").json()
    rest = api.get(f"/events?cursor={first['next_cursor']}").json()
    mine = api.get("/events?project=shop").json()

    assert [event["id"] for event in first["items"] + rest["items"]] == list(range(1, len(rest["items"]) + 2))
    assert {event["project_id"] for event in mine["items"]} == {api.get("/projects/shop").json()["id"]}


def test_env_is_masked_unless_revealed_and_revealing_leaves_an_event(api: httpx.Client, shop: str) -> None:
    changed = api.patch("/projects/shop/env", json={"set": {"KEY": "s3cr3t"}})
    masked = api.get("/projects/shop/env")
    before = len(api.get("/events").json()["items"])
    revealed = api.get("/projects/shop/env?reveal=true").json()

    assert "s3cr3t" not in changed.text + masked.text
    assert revealed["variables"] == [{"key": "KEY", "value": "s3cr3t", "build": False}]
    assert [event["action"] for event in api.get("/events").json()["items"]][before:] == ["env.revealed"]


def test_a_domain_is_added_and_removed(api: httpx.Client, shop: str) -> None:
    assert api.post("/projects/shop/domains", json={"name": "www.shop.example"}).status_code == 201
    names = [domain["name"] for domain in api.get("/projects/shop/domains").json()["items"]]

    assert names == ["shop.localhost", "www.shop.example"]
    assert api.delete("/projects/shop/domains/www.shop.example").status_code == 204
    assert problem(api.delete("/projects/shop/domains/shop.localhost"))["status"] == 409


def test_the_whole_log_is_text(api: httpx.Client, box: Appliance, shop: str) -> None:
    deployment = claimed(box.store, box.store.environments.of(box.store.projects.named("shop")))
    for number in range(6000):
        box.journal.log(deployment)(f"line {number}")
    box.journal.ended(deployment)

    answer = api.get("/projects/shop/deployments/1/log")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.split("\n") == [*(f"line {number}" for number in range(6000)), ""]
    assert problem(api.get("/projects/shop/deployments/2/log"))["status"] == 404


def test_the_document_describes_every_route_its_problems_and_its_strictness(api: httpx.Client) -> None:
    document = json.loads(api.get("http://homeport/schema/openapi.json").content)
    operations = [operation for path in document["paths"].values() for operation in path.values()]

    assert len(operations) > 25
    for operation in operations:
        assert "400" not in operation["responses"]
        assert list(operation["responses"]["default"]["content"]) == [PROBLEM]
    assert document["components"]["schemas"]["NewProject"]["additionalProperties"] is False
    assert set(document["components"]["schemas"]["Problem"]["required"]) == {"type", "title", "status", "detail"}
