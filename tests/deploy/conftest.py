"""A box whose Caddy and prober are notes, and a queue whose path does what a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.adapters.disk import Disk
from app.appliance import Appliance
from app.deploy import queue as module
from app.deploy.queue import Queue
from app.model import Deployment
from app.store import Store
from tests.box import wait_until
from tests.edge import Calls
from tests.nouns import box_over

Carry = Callable[[Appliance, Deployment], object]


class ThePath:
    """Stands in for the path: notes what it was asked to carry, and does what a test says."""

    def __init__(self) -> None:
        self.carried: list[tuple[str, int]] = []
        self.restored: list[str] = []
        self.converged: list[str] = []
        self.does: Carry = lambda box, deployment: box.store.deployments.make_live(deployment)

    def deploy(self, box: Appliance, deployment: Deployment) -> object:
        self.carried.append(("deploy", deployment.number))
        return self.does(box, deployment)

    def rollback(self, box: Appliance, deployment: Deployment) -> object:
        self.carried.append(("rollback", deployment.number))
        return self.does(box, deployment)


@pytest.fixture
def prober() -> Calls:
    return Calls()


@pytest.fixture
def caddy() -> Calls:
    return Calls()


@pytest.fixture
def bell() -> threading.Event:
    return threading.Event()


@pytest.fixture
def box(store: Store, tmp_path: Path, bell: threading.Event, prober: Calls, caddy: Calls) -> Appliance:
    return box_over(store, tmp_path, wake=bell.set, disk=Disk(), prober=prober, caddy=caddy)


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> ThePath:
    made = ThePath()
    monkeypatch.setattr(module, "deploy", made.deploy)
    monkeypatch.setattr(module, "rollback", made.rollback)
    monkeypatch.setattr(module, "restore", lambda box, environment_id: made.restored.append(environment_id))
    monkeypatch.setattr(module, "converge", lambda box, environment: made.converged.append(environment.id))
    return made


@pytest.fixture
def queue(box: Appliance, bell: threading.Event, path: ThePath) -> Iterator[Queue]:
    made = Queue(box, bell)
    yield made
    made.stop()


def ended(store: Store, deployment: Deployment) -> Deployment:
    """The deployment once it has ended."""
    wait_until(lambda: store.deployments.get(deployment.id).ended, f"#{deployment.number} ends", 10)
    return store.deployments.get(deployment.id)
