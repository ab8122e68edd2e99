"""The queue: each deployment carried once, in its turn, and ended in words."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from app.appliance import Appliance
from app.deploy import queue as module
from app.deploy.queue import Queue, told
from app.errors import BadInput, Canceled, LostLease, StageFailed, Unavailable
from app.model import Deployment, Environment, Failure
from app.store import Store
from tests.box import wait_until
from tests.deploy.conftest import ThePath, ended
from tests.nouns import IMAGE, PLAN, new_environment, queued

# -- carrying


def test_what_is_queued_is_carried_and_what_comes_later_too(
    store: Store, environment: Environment, box: Appliance, queue: Queue, path: ThePath
) -> None:
    first = queued(store, environment)
    queue.start()
    assert ended(store, first).status == "live"
    second = queued(store, environment)
    box.wake()
    assert ended(store, second).status == "live"
    assert path.carried == [("deploy", 1), ("deploy", 2)]
    wait_until(lambda: path.converged == [environment.id] * 2, "what was asked meanwhile is carried out")
    assert path.restored == []


@pytest.mark.parametrize(
    ("trigger", "fields", "way"),
    [
        ("rollback", {"plan": PLAN, "image": IMAGE, "rollback_to": 1}, "rollback"),
        ("env", {"plan": PLAN, "image": IMAGE}, "rollback"),
        ("env", {}, "deploy"),
        ("git", {}, "deploy"),
        ("upload", {}, "deploy"),
    ],
)
def test_what_has_its_image_starts_at_the_rollout(
    store: Store, environment: Environment, queue: Queue, path: ThePath, trigger: str, fields: dict[str, Any], way: str
) -> None:
    deployment = queued(store, environment, trigger, **fields)
    queue.start()
    ended(store, deployment)
    assert path.carried == [(way, 1)]


def test_two_environments_at_once_and_one_environment_in_turn(store: Store, queue: Queue, path: ThePath, box: Appliance) -> None:
    both, gate = threading.Barrier(2), threading.Event()
    under_way: list[str] = []
    most: dict[str, int] = {}

    def carry(box: Appliance, deployment: Deployment) -> None:
        under_way.append(deployment.environment_id)
        most[deployment.environment_id] = max(most.get(deployment.environment_id, 0), under_way.count(deployment.environment_id))
        if deployment.number == 1:
            both.wait(10)
            gate.wait(10)
        box.store.deployments.make_live(deployment)
        under_way.remove(deployment.environment_id)

    path.does = carry
    environments = [new_environment(store, slug) for slug in "ab"]
    for environment in environments:
        queued(store, environment)
    queue.start()
    wait_until(lambda: len(path.carried) == 2, "both are carried at once", 10)
    later = [queued(store, environment) for environment in environments]
    box.wake()
    gate.set()
    for deployment in later:
        ended(store, deployment)
    assert most == {environment.id: 1 for environment in environments}


def test_nothing_is_carried_while_its_environment_is_held(
    store: Store, environment: Environment, box: Appliance, queue: Queue, path: ThePath
) -> None:
    with box.journal.holding(environment.id):
        deployment = queued(store, environment)
        queue.start()
        wait_until(lambda: store.deployments.get(deployment.id).status == "source", "it is claimed", 10)
        assert path.carried == []
    assert ended(store, deployment).status == "live"


def test_a_work_folder_goes_and_one_that_cannot_go_blocks_nothing(
    store: Store,
    environment: Environment,
    box: Appliance,
    queue: Queue,
    path: ThePath,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = queued(store, environment)
    work = box.settings.root / "work" / first.id
    dead = work.with_name(f"{first.id}.build-of-an-attempt-that-died")
    for folder in (work, dead):
        folder.mkdir(parents=True)
    queue.start()
    ended(store, first)
    wait_until(lambda: not work.exists() and not dead.exists(), "its work folders go", 10)

    def cannot(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(box.disk, "remove", cannot)
    for _ in range(module.WORKERS + 1):
        deployment = queued(store, environment)
        (work.parent / f"{deployment.id}.build-1").mkdir()
        box.wake()
        ended(store, deployment)
    wait_until(lambda: f"deployment {deployment.id} leaves a work folder" in caplog.messages, "it is said", 10)


# -- how it ends


@pytest.mark.parametrize(
    ("error", "status", "code", "cause"),
    [
        (StageFailed("no answer", failure_code="wrong-port", hint="h"), "failed", "wrong-port", "no answer"),
        (BadInput("no such ref"), "failed", "bad-input", "no such ref"),
        (Canceled("canceled by bob"), "canceled", "canceled", "canceled by bob"),
        (ValueError("canary"), "failed", "internal", "Homeport itself failed: ValueError"),
    ],
    ids=["stage", "ours", "canceled", "a fault of ours"],
)
def test_an_end_is_said_and_cleaned_up_after(
    store: Store,
    environment: Environment,
    box: Appliance,
    queue: Queue,
    path: ThePath,
    error: Exception,
    status: str,
    code: str,
    cause: str,
) -> None:
    def carry(box: Appliance, deployment: Deployment) -> None:
        box.store.intents.begin(deployment, "replica", "one")
        raise error

    path.does = carry
    deployment = queued(store, environment)
    queue.start()
    found = ended(store, deployment)
    assert found.failure is not None
    assert (found.status, found.failure.code, found.failure.cause) == (status, code, cause)
    assert path.restored == [environment.id]
    wait_until(lambda: store.intents.open() == [], "no intent is left open", 10)
    assert box.journal.lines(found, 0) == told(found.failure)


def test_a_lost_lease_writes_nothing(store: Store, environment: Environment, queue: Queue, path: ThePath) -> None:
    def carry(box: Appliance, deployment: Deployment) -> None:
        box.store.deployments.release_dead(lambda _: False)
        box.store.deployments.claim("another machine")
        raise LostLease("it is another's")

    path.does = carry
    deployment = queued(store, environment)
    queue.start()
    wait_until(lambda: path.converged, "it was let go", 10)
    found = store.deployments.get(deployment.id)
    assert (found.status, found.failure, path.restored) == ("source", None, [])


def test_what_fails_after_it_went_live_stays_live(
    store: Store, environment: Environment, box: Appliance, queue: Queue, path: ThePath
) -> None:
    def carry(box: Appliance, deployment: Deployment) -> None:
        box.store.deployments.make_live(deployment)
        raise Unavailable("the engine does not answer")

    path.does = carry
    deployment = queued(store, environment)
    queue.start()
    wait_until(lambda: path.converged, "it was carried", 10)
    found = store.deployments.get(deployment.id)
    assert (found.status, found.failure, path.restored) == ("live", None, [])
    assert box.journal.lines(found, 0) == ["the one before is still ending: the engine does not answer"]


def test_a_failure_in_words() -> None:
    failure = Failure(stage="health", code="c", cause="it answered 404", hint="set [run.health] path")
    assert told(failure) == ["-----> health failed: it answered 404", "       next: set [run.health] path"]


@pytest.mark.parametrize("error", [Unavailable("the disk"), ValueError("a row of another version")], ids=["ours", "unforeseen"])
def test_the_queue_outlives_a_claim_that_fails(
    store: Store,
    environment: Environment,
    box: Appliance,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    claim = store.deployments.claim
    errors = [error]

    def claim_that_fails(*args: Any) -> Deployment | None:
        if errors:
            raise errors.pop()
        return claim(*args)

    monkeypatch.setattr(store.deployments, "claim", claim_that_fails)
    deployment = queued(store, environment)
    with caplog.at_level(logging.ERROR, "homeport"):
        queue.start()
        wait_until(lambda: not errors, "it failed once", 10)
        box.wake()
        assert ended(store, deployment).status == "live"
    assert any("the queue cannot be read" in message for message in caplog.messages)
