"""The SDK: one method for each route, the same Structs and errors on both sides."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api import application
from app.appliance import Appliance
from app.errors import AlreadyExists, BadInput, Conflict, NotFound, Unavailable
from app.inputs import EnvPatch, NewDeployment, NewDomain, NewProject, NewRollback, NewScale, ProjectPatch
from app.model import Deployment
from app.sdk import Client, Resource
from app.transport import Answer, Transport
from tests.nouns import live
from tests.serving import Script, new_box, served, tar_of, working

SAMPLES: dict[str, Any] = {
    "invariants": True,
    "slug": "shop",
    "number": 7,
    "name": "www.shop.example",
    "archive": [b"tar"],
    "message": None,
    "dirty": False,
    "limit": None,
    "version": None,
    "reveal": False,
    "tail": 10,
    "follow": True,
    "project": None,
    "after": 0,
}
BODIES: dict[str, Any] = {
    "NewProject": NewProject(slug="shop"),
    "ProjectPatch": ProjectPatch(),
    "NewDeployment": NewDeployment(),
    "NewRollback": NewRollback(),
    "NewScale": NewScale(scale={}),
    "EnvPatch": EnvPatch(),
    "NewDomain": NewDomain(name="a.b"),
}


class Asked(Exception):
    """Ends a call once it is known what it asks."""


class Recorder(Transport):
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def send(self, method: str, path: str, **_: Any) -> Answer:
        self.calls.append((method, path))
        raise Asked

    def follow(self, path: str, query: Any = None) -> Iterator[tuple[str, str]]:
        self.calls.append(("GET", path))
        raise Asked


def methods(client: Client) -> dict[str, Callable[..., Any]]:
    """Every public method of every resource, by `resource.method`."""
    found: dict[str, Callable[..., Any]] = {}
    for noun, resource in vars(client).items():
        if isinstance(resource, Resource):
            for name, method in inspect.getmembers(resource, inspect.ismethod):
                if not name.startswith("_"):
                    found[f"{noun}.{name}"] = method
    return found


def call(method: Callable[..., Any]) -> None:
    parameters = inspect.signature(method).parameters.values()
    values = {
        parameter.name: BODIES[str(parameter.annotation)] if parameter.annotation in BODIES else SAMPLES[parameter.name]
        for parameter in parameters
    }
    with pytest.raises(Asked):
        next(iter(method(**values)))


def routes(box: Appliance) -> set[tuple[str, str]]:
    """(method, path) of every route, with the path's parameters as the samples have them."""
    app = application(box)
    found = set()
    for route in app.routes:
        for method in getattr(route, "methods", ()):
            if route.path_format.startswith("/v1") and method != "OPTIONS":
                path = route.path_format
                for name in ("slug", "number", "name"):
                    path = path.replace(f"{{{name}}}", str(SAMPLES[name]))
                found.add((method, path))
    return found


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Appliance]:
    made = new_box(tmp_path / "data")
    yield made
    made.store.close()


@pytest.fixture
def client(box: Appliance, data_folder: Path) -> Iterator[Client]:
    with served(box, data_folder / "api.sock") as socket:
        yield Client(str(socket))


def test_every_route_has_exactly_one_method(box: Appliance) -> None:
    recorder = Recorder()
    asked: dict[tuple[str, str], list[str]] = {}
    for name, method in methods(Client(transport=recorder)).items():
        recorder.calls.clear()
        call(method)
        assert len(recorder.calls) == 1, name
        asked.setdefault(recorder.calls[0], []).append(name)

    assert {route: names for route, names in asked.items() if len(names) > 1} == {}
    assert set(asked) == routes(box)


def test_a_project_from_its_first_upload_to_a_rollback(client: Client, box: Appliance) -> None:
    project = client.projects.create(NewProject(slug="shop"))
    upload = client.deployments.upload("shop", [tar_of({"index.html": b"x"})], "a message", dirty=True)
    with working(box, Script(lines={"image": ["built"]})):
        first = client.deployments.create("shop", NewDeployment(commit=upload.commit))
        seen = list(client.deployments.follow("shop", first.number))
        second = client.deployments.create("shop", NewDeployment(commit=upload.commit))
        list(client.deployments.follow("shop", second.number))
        back = client.deployments.rollback("shop", NewRollback(number=1))
        last = [value for kind, value in client.deployments.follow("shop", back.number) if kind == "deployment"][-1]

    assert project.slug == "shop"
    assert ("log", "built") in seen
    assert isinstance(last, Deployment)
    assert (last.number, last.status, last.rollback_to) == (3, "live", 1)
    assert client.projects.show("shop").paused_because is not None
    assert client.projects.resume("shop").paused_because is None
    assert "built\n" in client.deployments.log("shop", 1)


def test_pages_are_read_to_their_end(client: Client, box: Appliance) -> None:
    client.projects.create(NewProject(slug="shop"))
    environment = box.store.environments.of(box.store.projects.named("shop"))
    for _ in range(103):
        live(box.store, environment)

    assert [one.number for one in client.deployments.index("shop")] == list(range(103, 0, -1))
    assert [one.number for one in client.deployments.index("shop", 102)] == list(range(103, 1, -1))
    assert [one.id for one in client.events.index(after=3, limit=2)] == [4, 5]


def test_errors_are_the_same_classes_on_both_sides(client: Client) -> None:
    client.projects.create(NewProject(slug="shop"))

    with pytest.raises(AlreadyExists):
        client.projects.create(NewProject(slug="shop"))
    with pytest.raises(NotFound):
        client.projects.show("nope")
    with pytest.raises(BadInput, match="slug"):
        client.projects.create(NewProject(slug="Not A Slug"))
    with pytest.raises(Conflict):
        client.domains.remove("shop", "shop.localhost")
    with pytest.raises(NotFound):
        next(client.deployments.follow("shop", 3))


def test_a_name_cannot_become_another_path(client: Client) -> None:
    client.projects.create(NewProject(slug="shop"))

    for name in ("shop/env", "../projects/shop", "shop?x", "shop#x", "%2e%2e"):
        with pytest.raises((NotFound, BadInput)):
            client.projects.remove(name)
    assert [line.project.slug for line in client.projects.index()] == ["shop"]


class Flaky(Transport):
    """Loses the answer of the first requests, after the server has carried them out."""

    def __init__(self, lost: int) -> None:
        self.lost = lost
        self.keys: list[str] = []

    def send(self, method: str, path: str, **given: Any) -> Answer:
        self.keys.append(given["headers"]["Idempotency-Key"])
        if len(self.keys) <= self.lost:
            raise Unavailable("gone")
        return Answer(202, {}, DEPLOYMENT)


DEPLOYMENT = (
    b'{"id":"d","organization_id":"o","project_id":"p","environment_id":"e","number":1,"status":"queued",'
    b'"trigger":"upload","created_at":"","created_by":""}'
)


def test_a_deploy_whose_answer_was_lost_is_asked_for_again_with_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sdk.RETRIES", (0.0, 0.0))
    flaky = Flaky(2)

    assert Client(transport=flaky).deployments.create("shop", NewDeployment(commit="c")).number == 1
    assert len(flaky.keys) == 3
    assert len(set(flaky.keys)) == 1
    assert re.fullmatch("[0-9a-f]{32}", flaky.keys[0])
    with pytest.raises(Unavailable):
        Client(transport=Flaky(3)).deployments.create("shop", NewDeployment(commit="c"))
