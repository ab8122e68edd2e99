"""The queue: who may claim what, how a lease is kept, lost and handed back, and whose writes count."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

import app.store.deployments as module
from app.errors import LostLease, NotFound
from app.model import Deployment, Environment, Traffic
from app.store import Store
from app.store.deployments import LEASE_SECONDS
from tests.nouns import FAILURE, IMAGE, PLAN, actions, claimed, live, new_environment, queued, status, usage_rows


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: made.time))
    return made


def columns(store: Store, deployment: Deployment) -> dict[str, Any]:
    with store.write() as db:
        return next(iter(db.query("SELECT * FROM deployments WHERE id = :id", {"id": deployment.id})))


# -- the queue


def test_a_claim_takes_the_oldest_and_marks_it(store: Store, clock: Clock) -> None:
    first, second = queued(store, new_environment(store, "a")), queued(store, new_environment(store, "b"))
    found = store.deployments.claim("me")
    assert found is not None
    assert (found.id, found.status, found.fence, found.attempt) == (first.id, "source", 1, 0)
    assert found.started_at is not None
    assert found == store.deployments.get(first.id)
    row = columns(store, found)
    assert (row["owner"], row["lease_until"]) == ("me", clock.time + LEASE_SECONDS)
    assert status(store, second) == "queued"


def test_one_at_a_time_per_environment(store: Store, environment: Environment) -> None:
    running, waiting = claimed(store, environment), queued(store, environment)
    elsewhere = queued(store, new_environment(store, "other"))
    taken = store.deployments.claim("worker")
    assert taken is not None
    assert taken.id == elsewhere.id
    assert store.deployments.claim("worker") is None
    store.deployments.end(running, "failed", FAILURE)
    after = store.deployments.claim("worker")
    assert after is not None
    assert after.id == waiting.id


def test_what_is_queued_after_a_rollback_waits_for_it(store: Store, environment: Environment) -> None:
    rollback = queued(store, environment, "rollback", rollback_to=1)
    waiting = queued(store, environment)
    first = store.deployments.claim("worker")
    assert first is not None
    assert first.id == rollback.id
    store.deployments.end(first, "failed", FAILURE)
    second = store.deployments.claim("worker")
    assert second is not None
    assert second.id == waiting.id


def test_sixteen_workers_claim_each_once_and_never_two_in_one_environment(store: Store) -> None:
    environments = [new_environment(store, f"p{number}") for number in range(5)]
    for environment in environments:
        queued(store, environment)
        queued(store, environment, "rollback", rollback_to=1)
    start = threading.Barrier(16)

    def claim(number: int) -> Deployment | None:
        start.wait(10)
        return store.deployments.claim(f"worker {number}")

    with ThreadPoolExecutor(16) as pool:
        found = [deployment for deployment in pool.map(claim, range(16)) if deployment is not None]
    assert sorted(d.environment_id for d in found) == sorted(e.id for e in environments)


def test_a_lease_that_ran_out_is_claimed_again_with_a_new_fence(store: Store, environment: Environment, clock: Clock) -> None:
    first = claimed(store, environment)
    store.deployments.enter(first, "image")
    clock.time += LEASE_SECONDS - 0.1
    assert store.deployments.claim("other") is None
    clock.time += 0.2
    second = store.deployments.claim("other")
    assert second is not None
    assert (second.id, second.status, second.fence, second.attempt) == (first.id, "image", 2, 1)
    assert second.started_at == first.started_at


def test_what_this_process_holds_is_not_claimed_again(store: Store, environment: Environment, clock: Clock) -> None:
    held = claimed(store, environment)
    waiting = queued(store, environment)
    clock.time += 10 * LEASE_SECONDS
    assert store.deployments.claim("worker", {held.id}) is None
    assert status(store, waiting) == "queued"
    elsewhere = queued(store, new_environment(store, "other"))
    found = store.deployments.claim("worker", {held.id})
    assert found is not None
    assert found.id == elsewhere.id


def test_a_heartbeat_extends_the_lease(store: Store, environment: Environment, clock: Clock) -> None:
    running = claimed(store, environment)
    clock.time += LEASE_SECONDS - 1
    assert store.deployments.heartbeat(running)
    clock.time += LEASE_SECONDS - 1
    assert store.deployments.claim("other") is None
    clock.time += 2
    assert store.deployments.claim("other") is not None
    assert not store.deployments.heartbeat(running)


def test_a_heartbeat_of_what_has_ended_is_refused(store: Store, environment: Environment) -> None:
    running = claimed(store, environment)
    store.deployments.end(running, "failed", FAILURE)
    assert not store.deployments.heartbeat(running)


def test_a_dead_owner_is_released_at_once_and_a_living_one_is_not(store: Store) -> None:
    dead = claimed(store, new_environment(store, "a"))
    queued(store, new_environment(store, "b"))
    alive = store.deployments.claim("alive")
    assert alive is not None
    asked: list[str] = []

    def is_alive(owner: str) -> bool:
        asked.append(owner)
        return owner == "alive"

    assert [d.id for d in store.deployments.release_dead(is_alive)] == [dead.id]
    assert sorted(asked) == ["alive", "worker"]
    taken = store.deployments.claim("next")
    assert taken is not None
    assert (taken.id, taken.fence, taken.attempt) == (dead.id, 2, 1)
    assert store.deployments.claim("next") is None


def test_what_is_handed_back_is_resumed_and_does_not_count_as_a_crash(store: Store, environment: Environment) -> None:
    running = claimed(store, environment)
    store.deployments.hand_back(running)
    again = store.deployments.claim("next")
    assert again is not None
    assert (again.id, again.fence, again.attempt) == (running.id, 2, 0)


def test_a_stale_worker_cannot_hand_back(store: Store, environment: Environment) -> None:
    stale = claimed(store, environment)
    current = taken_over(store, stale)
    store.deployments.hand_back(stale)
    assert store.deployments.claim("third") is None
    assert store.deployments.get(current.id).attempt == 1


def taken_over(store: Store, deployment: Deployment) -> Deployment:
    store.deployments.release_dead(lambda _: False)
    found = store.deployments.claim("other")
    assert found is not None
    assert found.id == deployment.id
    return found


# -- the fence

WRITES: dict[str, Any] = {
    "enter": lambda d, x: d.enter(x, "image"),
    "enter health": lambda d, x: d.enter(x, "health"),
    "timed": lambda d, x: d.timed(x, "image", 1.0),
    "pinned": lambda d, x: d.pinned(x, "t" * 40, "message"),
    "planned": lambda d, x: d.planned(x, PLAN),
    "built": lambda d, x: d.built(x, IMAGE),
    "make_live": lambda d, x: d.make_live(x),
    "drained": lambda d, x: d.drained(x, Traffic(probes=1, dropped=1, longest_wait_ms=1)),
    "end": lambda d, x: d.end(x, "failed", FAILURE),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_stale_worker_changes_nothing(store: Store, environment: Environment, write: Any) -> None:
    before = live(store, environment)
    stale = claimed(store, environment)
    current = taken_over(store, stale)
    events, usage = len(actions(store)), usage_rows(store)
    with pytest.raises(LostLease, match=f"#{stale.number} belongs to another worker"):
        write(store.deployments, stale)
    assert store.deployments.get(current.id) == current
    assert store.deployments.get(before.id) == before
    assert store.environments.get(environment.id).live_deployment_id == before.id
    assert len(actions(store)) == events
    assert usage_rows(store) == usage
    write(store.deployments, current)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_worker_whose_project_was_deleted_has_lost_it(store: Store, environment: Environment, write: Any) -> None:
    running = claimed(store, environment)
    store.projects.remove(store.projects.named("web"), "ada")
    with pytest.raises((LostLease, NotFound)):
        write(store.deployments, running)
