"""The ends of the workers: a crash is resumed but not for ever, a stop hands back, and a lost lease lets go."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from app.appliance import Appliance
from app.deploy import queue as module
from app.deploy.queue import Queue, owner_alive, owner_id, refuse_poison
from app.model import Deployment, Environment
from app.store import Store
from app.store.deployments import MAX_ATTEMPTS
from tests.box import wait_until
from tests.deploy.conftest import ThePath, ended
from tests.nouns import claimed, live, new_environment, queued

# -- crashes


@pytest.mark.parametrize("attempt", range(MAX_ATTEMPTS + 1))
def test_a_few_crashes_are_resumed(store: Store, environment: Environment, attempt: int) -> None:
    refuse_poison(deployment_with(store, environment, attempt))


def deployment_with(store: Store, environment: Environment, attempt: int) -> Deployment:
    deployment = claimed(store, environment)
    for _ in range(attempt):
        store.deployments.release_dead(lambda _: False)
        found = store.deployments.claim("next")
        assert found is not None
        deployment = found
    return deployment


def test_one_crash_too_many_is_the_end(store: Store, environment: Environment, queue: Queue, path: ThePath) -> None:
    deployment_with(store, environment, MAX_ATTEMPTS)
    deployment = store.deployments.everything()[0]
    queue.start()
    found = ended(store, deployment)
    assert found.failure is not None
    assert (found.status, found.failure.code) == ("failed", "poison")
    assert found.failure.cause == "the control plane crashed 4 times while it carried this deployment"
    assert path.carried == []
    assert path.restored == [environment.id, environment.id], "before it, what is live serves; after it, nothing of it is left"


def test_what_a_dead_process_left_is_resumed_at_once(store: Store, environment: Environment, queue: Queue, path: ThePath) -> None:
    deployment = claimed(store, environment)
    queue.start()
    found = ended(store, deployment)
    assert (found.status, found.attempt, found.fence) == ("live", 1, 2)


def test_what_a_living_process_carries_is_left_to_it(
    store: Store, environment: Environment, queue: Queue, path: ThePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "owner_alive", lambda owner: True)
    claimed(store, environment)
    other = queued(store, new_environment(store, "other"))
    queue.start()
    ended(store, other)
    assert path.carried == [("deploy", 1)]
    assert [d.environment_id for d in store.deployments.active()] == [environment.id]


# -- stopping


def until_told(box: Appliance, deployment: Deployment) -> None:
    cancel = box.journal.cancel(deployment)
    assert cancel.wait(10), "nobody told it to stop"
    cancel.raise_if_set()


def test_stopping_hands_back_what_is_under_way_and_that_is_no_crash(
    store: Store, environment: Environment, box: Appliance, bell: threading.Event, path: ThePath
) -> None:
    path.does = until_told
    deployment = queued(store, environment)
    first = Queue(box, bell)
    first.start()
    wait_until(lambda: path.carried, "it is carried", 10)
    first.stop()
    assert store.deployments.get(deployment.id).status == "source"
    assert path.restored == []
    resumed = store.deployments.claim("the next process")
    assert resumed is not None
    assert (resumed.id, resumed.attempt, resumed.fence) == (deployment.id, 0, 2)


def test_stopping_does_not_bring_back_what_a_person_canceled(
    store: Store, environment: Environment, box: Appliance, bell: threading.Event, path: ThePath
) -> None:
    path.does = until_told
    deployment = queued(store, environment)
    queue = Queue(box, bell)
    queue.start()
    wait_until(lambda: path.carried, "it is carried", 10)
    store.deployments.ask_to_cancel(deployment, "bob")
    queue.stop()
    assert store.deployments.get(deployment.id).status == "canceled"


def test_what_is_claimed_while_it_stops_is_told_too(
    store: Store, environment: Environment, box: Appliance, bell: threading.Event, path: ThePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.does = until_told
    claiming, go_on = threading.Event(), threading.Event()
    deployment = queued(store, environment)
    queue = Queue(box, bell)
    claim = queue._claim

    def slow_claim() -> bool:
        claiming.set()
        go_on.wait(10)
        return claim()

    monkeypatch.setattr(queue, "_claim", slow_claim)
    queue.start()
    assert claiming.wait(10)
    stopping = threading.Thread(target=queue.stop)
    stopping.start()
    stopping.join(0.2)
    go_on.set()
    stopping.join(8)
    assert not stopping.is_alive(), "it waits for a deployment that nobody told to stop"
    assert store.deployments.get(deployment.id).attempt == -1, "it was handed back"


def test_it_claims_nothing_once_it_stops(store: Store, environment: Environment, box: Appliance, bell: threading.Event) -> None:
    queue = Queue(box, bell)
    queue.start()
    queue.stop()
    deployment = queued(store, environment)
    bell.set()
    assert not queue._dispatcher.is_alive()
    assert store.deployments.get(deployment.id).status == "queued"


# -- heartbeats


def test_a_heartbeat_keeps_what_is_carried_and_stops_what_was_lost(
    store: Store, box: Appliance, queue: Queue, path: ThePath
) -> None:
    path.does = until_told
    kept, lost = queued(store, new_environment(store, "a")), queued(store, new_environment(store, "b"))
    queue.start()
    wait_until(lambda: len(path.carried) == 2, "both are carried", 10)
    with store.write() as db:
        db.execute("UPDATE deployments SET lease_until = 1.0")
        db.execute("UPDATE deployments SET fence = fence + 1, lease_until = 9e12 WHERE id = :id", {"id": lost.id})
    queue.heartbeat()
    assert box.journal.cancel(kept).is_set() is False
    wait_until(lambda: len(queue._carried) == 1, "the lost one was told to stop", 10)
    with store.write() as db:
        leases = {row["id"]: row["lease_until"] for row in db.query("SELECT id, lease_until FROM deployments")}
    assert leases[kept.id] > 1.0
    assert leases[lost.id] == 9e12
    assert store.deployments.get(lost.id).status == "source"
    assert path.restored == [], "the world is the other worker's to change"


# -- whose process it is


def test_this_process_has_one_name_and_does_not_count_as_an_owner() -> None:
    assert owner_id() == owner_id()
    boot, pid, started = owner_id().split(":")
    assert (len(boot), pid, started.isdigit()) == (36, str(os.getpid()), True)
    assert not owner_alive(owner_id())


def test_an_owner_is_alive_as_long_as_its_process_is() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        boot, _, _ = owner_id().split(":")
        started = module._start_time(child.pid)
        assert owner_alive(f"{boot}:{child.pid}:{started}")
        assert not owner_alive(f"{boot}:{child.pid}:{int(started) + 1}"), "the number of a process is used again"
        assert not owner_alive(f"{'0' * 36}:{child.pid}:{started}"), "after a reboot nobody is alive"
    finally:
        child.communicate(b"\n", timeout=10)
    assert not owner_alive(f"{boot}:{child.pid}:{started}")


@pytest.mark.parametrize("owner", ["", "worker", ":", "::", f"{owner_id().partition(':')[0]}:x:1", "a:1"])
def test_a_name_that_names_nobody_is_dead(owner: str) -> None:
    assert not owner_alive(owner)


def test_live_ones_are_not_released(store: Store, environment: Environment) -> None:
    live(store, environment)
    assert store.deployments.release_dead(lambda _: False) == []
