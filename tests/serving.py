"""The real API over the real verbs and store, on a unix socket in this process; and a worker that stands in for the path."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from app.adapters.disk import Disk
from app.adapters.git import Git
from app.api import application
from app.appliance import Appliance
from app.errors import HomeportError, StageFailed
from app.model import STAGES, Deployment, Replica, Traffic
from app.settings import Settings
from tests.box import wait_until
from tests.nouns import IMAGE, PLAN, box_over, open_store


class QuietCaddy:
    """A Caddy that is always as it should be."""

    def ensure_running(self, _: dict[str, Any]) -> bool:
        return False

    def apply(self, _: dict[str, Any]) -> bool:
        return False


@dataclass
class Talking:
    """A runtime whose applications have said `lines`, and say nothing more until they are canceled."""

    lines: list[str] = field(default_factory=list)
    canceled: threading.Event = field(default_factory=threading.Event)

    def observe(self, _: str | None = None) -> tuple[Replica, ...]:
        return ()

    def drain(self, *_: Any) -> None:
        return

    def forget(self, *_: Any) -> None:
        return

    def logs(self, _: str, tail: int, follow: bool, cancel: Any) -> Iterator[str]:
        yield from self.lines[-tail:]
        while follow and not cancel.is_set():
            self.canceled.wait(0.01)
        self.canceled.set()


def new_box(folder: Path, limits: dict[str, int] | None = None, **adapters: Any) -> Appliance:
    """A box with a real store, journal and git, whose runtimes and Caddy do nothing."""
    settings = msgspec.structs.replace(Settings(data=str(folder), http_port=8080), **(limits or {}))
    parts: dict[str, Any] = {
        "settings": settings,
        "git": Git(settings),
        "caddy": QuietCaddy(),
        "disk": Disk(),
        "runtimes": {"docker": Talking()},
    }
    return box_over(open_store(folder), folder, **{**parts, **adapters})


@contextlib.contextmanager
def served(box: Appliance, socket: Path) -> Iterator[Path]:
    """The API of `box` on `socket`, until the block ends."""
    config = uvicorn.Config(
        application(box),
        uds=str(socket),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="served")
    thread.start()
    try:
        wait_until(lambda: server.started, "the API listens")
        yield socket
    finally:
        server.should_exit = True
        thread.join()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket)


@dataclass
class Script:
    """What the stand-in for the path does: the lines it logs in each stage, and where it fails."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    fails: dict[str, HomeportError] = field(default_factory=dict)
    traffic: Traffic | None = None
    hold: dict[str, threading.Event] = field(default_factory=dict)
    """Stages that wait for an event before they end."""


@contextlib.contextmanager
def working(box: Appliance, script: Script) -> Iterator[None]:
    """Carry every queued deployment along the stages of the path, as `script` says, until the block ends."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            deployment = box.store.deployments.claim("worker")
            if deployment is None:
                over.wait(0.01)
            else:
                carry(box, deployment, script)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    try:
        yield
    finally:
        over.set()
        for event in script.hold.values():
            event.set()
        thread.join()


def carry(box: Appliance, deployment: Deployment, script: Script) -> None:
    """One deployment from its first stage to its end."""
    try:
        for name in STAGES:
            with box.journal.stage(deployment, name):
                for line in script.lines.get(name, []):
                    box.journal.log(deployment)(line)
                if name in script.hold:
                    script.hold[name].wait(30)
                if name in script.fails and not deployment.lose_env:
                    raise script.fails[name]
            if name == "plan":
                box.store.deployments.planned(deployment, PLAN)
            if name == "image":
                box.store.deployments.built(deployment, IMAGE)
    except StageFailed as error:
        box.store.deployments.end(deployment, "failed", box.journal.failure(deployment, error))
    except HomeportError:
        box.store.deployments.end(deployment, "canceled", None)
    else:
        box.store.deployments.make_live(deployment)
        box.store.deployments.drained(deployment, script.traffic)
    box.journal.ended(deployment)


def tar_of(files: dict[str, bytes]) -> bytes:
    """A tar archive of `files`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()
