"""Projects, environments, domains, env versions, intents, events, usage, idempotency: each with its event and its limits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from app.errors import AlreadyExists, BadInput, Conflict, NotFound, Unavailable
from app.model import Environment, EnvVar, Image, Process
from app.store import Store
from tests.nouns import PLAN, actions, claimed, live, new_environment, new_project, queued


def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    with store.write() as db:
        return list(db.query(sql))


def variables(**values: str) -> dict[str, EnvVar]:
    return {key: EnvVar(key=key, value=value) for key, value in values.items()}


# -- projects


def test_a_slug_is_taken_once(store: Store) -> None:
    new_project(store, "web")
    with pytest.raises(AlreadyExists, match="a project called web exists") as raised:
        store.projects.create(store.organization, "web", "bob")
    assert "--project web" in raised.value.hint
    assert [project.slug for project in store.projects.all()] == ["web"]


def test_an_unknown_project_is_named_with_a_near_one(store: Store) -> None:
    new_project(store, "website")
    with pytest.raises(NotFound, match="no project 'webiste'") as raised:
        store.projects.named("webiste")
    assert raised.value.hint.startswith("Did you mean website? ")
    with pytest.raises(NotFound) as raised:
        store.projects.named("zzz")
    assert "Did you mean" not in raised.value.hint


def test_a_change_is_stored_and_told_without_its_value(store: Store) -> None:
    project = store.projects.change(new_project(store), "project.changed", "bob", git_url="https://example.test/a", git_ref="x")
    assert (project.git_url, project.git_ref) == ("https://example.test/a", "x")
    event = store.events.newest(limit=1)[0]
    assert (event.action, event.actor, event.detail) == ("project.changed", "bob", {"changed": ["git_ref", "git_url"]})


def test_a_deleted_project_leaves_events_and_closed_usage_and_nothing_else(store: Store, environment: Environment) -> None:
    other = live(store, new_environment(store, "other"))
    store.projects.set_secret(store.projects.named("web"), "deploy_key", "k" * 20)
    store.env.create(environment, variables(KEY="v"), "ada")
    deployment = live(store, environment)
    for metered in (deployment, other):
        store.usage.meter(metered, 1)
    store.intents.begin(deployment, "replica", "n")
    store.domains.add(environment, "a.example.com", "acme", generated=False, actor="ada")
    store.projects.remove(store.projects.named("web"), "bob")
    left = {
        table: rows(store, f"SELECT * FROM {table}")
        for table in ("projects", "environments", "domains", "deployments", "env_versions", "secrets", "intents")
    }
    assert [row["slug"] for row in left.pop("projects")] == ["other"]
    assert [row["id"] for row in left.pop("environments")] == [other.environment_id]
    assert [row["id"] for row in left.pop("deployments")] == [other.id]
    assert set(map(len, left.values())) == {0}, left
    assert actions(store)[-1] == "project.deleted"
    assert "project.created" in [event.action for event in store.events.after(0, environment.project_id)]
    open_usage = rows(store, "SELECT * FROM usage WHERE ended_at IS NULL")
    assert [row["environment_id"] for row in open_usage] == [other.environment_id]
    assert store.integrity() == []


# -- environments and what they want


def test_a_change_of_state_is_stored_and_told(store: Store, environment: Environment) -> None:
    changed = store.environments.change(environment, "environment.scaled", "bob", scale={"web": 3}, restarts=2, stopped=True)
    assert (changed.scale, changed.restarts, changed.stopped) == ({"web": 3}, 2, True)
    event = store.events.newest(limit=1)[0]
    assert (event.target, event.project_id) == (environment.id, environment.project_id)
    assert event.detail == {"scale": {"web": 3}, "restarts": 2, "stopped": True}


def test_nothing_is_desired_before_the_first_live_one(store: Store, environment: Environment) -> None:
    assert store.live(environment) is None
    with pytest.raises(Unavailable, match="deployment #1 of web has not been built"):
        store.desired(environment, claimed(store, environment))


def test_what_is_desired_names_all_that_runs(store: Store, environment: Environment) -> None:
    deployment = live(store, environment)
    store.domains.add(environment, "b.example.com", "acme", generated=False, actor="ada")
    environment = store.environments.change(environment, "environment.scaled", "ada", scale={"web": 2}, restarts=1)
    desired = store.live(environment)
    assert desired is not None
    assert desired.name == "web-production"
    assert (desired.deployment_id, desired.number, desired.restarts) == (deployment.id, 1, 1)
    assert desired.processes == (Process(name="web", command=None, replicas=2),)
    assert desired.domains == ("b.example.com",)
    assert desired.digest() == store.desired(environment, deployment).digest()
    more = store.environments.change(environment, "environment.restarted", "ada", restarts=2)
    assert store.desired(more, deployment).digest() != desired.digest()


def test_stopped_and_static_environments_want_no_process(store: Store, environment: Environment) -> None:
    deployment = live(store, environment)
    stopped = store.environments.change(environment, "environment.stopped", "ada", stopped=True)
    assert store.desired(stopped, deployment).processes == ()
    site = msgspec.structs.replace(deployment, image=Image(runtime="static", tag="t", digest="sha256:1"))
    assert store.desired(environment, site).processes == ()
    assert store.desired(environment, deployment).processes != ()


# -- domains


def test_a_host_name_belongs_to_one_project_on_the_box(store: Store, environment: Environment) -> None:
    store.domains.add(environment, "a.example.com", "acme", generated=False, actor="ada")
    with pytest.raises(AlreadyExists, match=r"a\.example\.com belongs to project web") as raised:
        store.domains.add(new_environment(store, "other"), "a.example.com", "acme", generated=False, actor="ada")
    assert "domains remove a.example.com" in raised.value.hint
    assert len(store.domains.all()) == 1


def test_peoples_own_names_come_before_ours(store: Store, environment: Environment) -> None:
    for name, generated in (("web.localhost", True), ("b.example.com", False), ("a.example.com", False)):
        store.domains.add(environment, name, "off", generated=generated, actor="ada")
    assert [domain.name for domain in store.domains.of(environment.id)] == ["b.example.com", "a.example.com", "web.localhost"]


def test_a_name_is_removed_unless_it_is_ours_or_nobodys(store: Store, environment: Environment) -> None:
    store.domains.add(environment, "web.localhost", "internal", generated=True, actor="ada")
    store.domains.add(environment, "a.example.com", "acme", generated=False, actor="ada")
    assert store.domains.remove(environment, "a.example.com", "bob").name == "a.example.com"
    with pytest.raises(Conflict, match="was made by Homeport"):
        store.domains.remove(environment, "web.localhost", "bob")
    with pytest.raises(NotFound, match="is no domain of this project"):
        store.domains.remove(environment, "a.example.com", "bob")
    assert actions(store)[-1] == "domain.removed"


# -- env versions


def test_versions_count_up_and_older_ones_stay_as_they_were(store: Store, environment: Environment) -> None:
    first = store.env.create(environment, {**variables(A="1"), "B": EnvVar(key="B", value="2", build=True)}, "ada")
    second = store.env.create(environment, variables(A="other"), "bob")
    assert (first.number, second.number) == (1, 2)
    assert store.environments.get(environment.id).env_version == 2
    assert store.env.version(environment.id, 1) == first
    assert store.env.values(environment.id, 1) == {"A": "1", "B": "2"}
    assert store.env.values(environment.id, 2) == {"A": "other"}
    assert [(v.key, v.build) for v in first.variables] == [("A", False), ("B", True)]
    assert (first.created_by, second.created_by) == ("ada", "bob")


def test_the_version_before_the_first_is_empty_and_others_are_not_found(store: Store, environment: Environment) -> None:
    assert store.env.values(environment.id, 0) == {}
    with pytest.raises(NotFound, match="no env version 1"):
        store.env.version(environment.id, 1)


def test_the_event_of_a_version_carries_keys_and_no_value(store: Store, environment: Environment) -> None:
    store.env.create(environment, variables(TOKEN="canary-value"), "ada")
    event = store.events.newest(limit=1)[0]
    assert event.detail == {"version": 1, "keys": ["TOKEN"]}
    assert "canary-value" not in str(rows(store, "SELECT * FROM events"))
    assert b"canary-value" not in b"".join(row["value"] for row in rows(store, "SELECT value FROM secrets"))


# -- events


def test_events_are_read_after_an_id_by_project_and_newest_first(store: Store) -> None:
    first, second = new_project(store, "a"), new_project(store, "b")
    store.events.record("project.changed", first, "ada", n=1)
    store.events.record("edge.drift", store.host, "homeport")
    assert actions(store) == ["project.created", "project.created", "project.changed", "edge.drift"]
    assert [event.target for event in store.events.after(0, second.id)] == [second.id]
    assert [event.id for event in store.events.after(2)] == [3, 4]
    assert [event.id for event in store.events.after(0, limit=2)] == [1, 2]
    assert [event.action for event in store.events.newest(limit=2)] == ["edge.drift", "project.changed"]
    assert store.events.newest(first.id, 1)[0].detail == {"n": 1}


def test_what_did_not_happen_leaves_no_event(store: Store, environment: Environment) -> None:
    before = actions(store)

    def fail() -> None:
        with store.write():
            queued(store, environment)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert actions(store) == before
    assert store.deployments.everything() == []
    assert store.projects.named("web").number == 0


# -- intents


def test_intents_are_open_until_they_are_done_or_settled(store: Store, environment: Environment) -> None:
    deployment = claimed(store, environment)
    first = store.intents.begin(deployment, "replica", "one")
    store.intents.begin(deployment, "route", "two")
    opened = store.intents.open()
    assert [(intent["kind"], intent["name"], intent["status"]) for intent in opened] == [
        ("replica", "one", "source"),
        ("route", "two", "source"),
    ]
    assert opened[0]["environment_id"] == environment.id
    store.intents.done(first)
    assert [intent["name"] for intent in store.intents.open()] == ["two"]
    store.intents.settle(deployment.id)
    assert store.intents.open() == []


# -- idempotency


def nothing() -> None:
    """There is nothing to prepare."""


def test_the_same_key_and_body_get_the_same_answer_made_once(store: Store, environment: Environment) -> None:
    made: list[str] = []

    def make(_: None) -> bytes:
        made.append(queued(store, environment).id)
        return made[-1].encode()

    first = store.idempotency.remember("k", "body", nothing, make)
    assert first == (made[0].encode(), False)
    assert store.idempotency.remember("k", "body", nothing, make) == (made[0].encode(), True)
    with pytest.raises(BadInput, match="used with another request"):
        store.idempotency.remember("k", "another body", nothing, make)
    assert len(made) == 1
    store.idempotency.forget("9999")
    assert store.idempotency.remember("k", "another body", nothing, make)[1] is False
    assert len(made) == 2


def test_a_request_that_failed_is_not_remembered_and_stored_nothing(store: Store, environment: Environment) -> None:
    def fail(_: None) -> bytes:
        queued(store, environment)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.idempotency.remember("k", "body", nothing, fail)
    assert store.deployments.everything() == []
    assert store.idempotency.remember("k", "body", nothing, lambda _: b"now") == (b"now", False)


def test_many_callers_with_one_key_make_one(store: Store, environment: Environment) -> None:
    start = threading.Barrier(8)

    def ask(_: int) -> tuple[bytes, bool]:
        start.wait(10)
        return store.idempotency.remember("k", "body", nothing, lambda _: queued(store, environment).id.encode())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert len({answer for answer, _ in answers}) == 1
    assert [replayed for _, replayed in answers].count(False) == 1
    assert len(store.deployments.everything()) == 1


# -- the file


def test_a_whole_database_has_nothing_wrong(store: Store, environment: Environment) -> None:
    live(store, environment)
    assert store.integrity() == []


def test_a_row_without_its_parent_is_found(store: Store, environment: Environment) -> None:
    raw = store._connection._writer.conn
    raw.execute("PRAGMA foreign_keys = OFF")
    with store.write() as db:
        db.execute("DELETE FROM projects")
    raw.execute("PRAGMA foreign_keys = ON")
    assert [text.partition(":")[0] for text in store.integrity()] == ["foreign key"]


def test_defaults_of_a_plan_decide_how_many(store: Store, environment: Environment) -> None:
    deployment = live(store, environment)
    plan = msgspec.structs.replace(PLAN, processes={"web": None, "worker": "run"}, scale={"worker": 3})
    planned = msgspec.structs.replace(deployment, plan=plan)
    assert [p.replicas for p in store.desired(environment, planned).processes] == [1, 3]
    scaled = store.environments.change(environment, "environment.scaled", "ada", scale={"worker": 0})
    assert [p.replicas for p in store.desired(scaled, planned).processes] == [1, 0]
