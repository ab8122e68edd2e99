"""The Docker runtime on a real engine, with an application that misbehaves on demand."""

from __future__ import annotations

import http.client
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.adapters.bases import Bases
from app.adapters.buildkit import Build
from app.adapters.docker import Docker
from app.adapters.process import Cancel
from app.errors import StageFailed
from app.model import Desired, HealthCheck, Process, Running
from app.runtimes import containers
from app.runtimes.docker import DockerRuntime
from app.settings import Settings
from tests.leftovers import data_label, remove_from_engine
from tests.wanted import desired, plan, web

if TYPE_CHECKING:
    from docker import DockerClient

APP = "python3 /app.py"
QUICK = HealthCheck(timeout=3.0)


class World:
    """One box's worth of an engine, and the image of an application that misbehaves on demand."""

    def __init__(self, engine: DockerClient, data: Path) -> None:
        self.engine = engine
        self.data = data
        self.settings = Settings(data=str(data))
        self.docker = Docker(self.settings)
        self.runtime = DockerRuntime(self.docker, self.settings)
        self.image = f"hp-behaviours:{containers.data_id(self.settings)}"
        self.lines: list[str] = []

    def build(self) -> None:
        Bases(self.docker, self.settings).ensure("python:3.11-slim", print, Cancel())
        folder = self.data / "context"
        folder.mkdir()
        shutil.copy(Path(__file__).with_name("behaviours.py"), folder / "app.py")
        (folder / "Dockerfile").write_text(
            f'FROM python:3.11-slim\nCOPY app.py /app.py\nCMD ["{APP.split()[0]}", "/app.py", "serve"]\n'
        )
        labels = containers.ours(containers.data_id(self.settings), **{containers.PROJECT: "prj1"})
        build = Build(context=folder, dockerfile=folder / "Dockerfile", tag=self.image, labels=labels)
        built = self.docker.build(build, self.lines.append, Cancel())
        assert built.exit_code == 0, self.lines

    def desired(self, *processes: Process, **changes: Any) -> Desired:
        return desired(self.image, processes=processes or (web(),), **{"plan": plan(health=QUICK), **changes})

    def start(self, wanted: Desired, env: dict[str, str] | None = None) -> Running:
        return self.runtime.start(wanted, env or {}, self.lines.append, Cancel())

    def fail(self, wanted: Desired, env: dict[str, str] | None = None) -> StageFailed:
        """The diagnosis of a candidate that does not come up; nothing of it is left."""
        with pytest.raises(StageFailed) as caught:
            self.start(wanted, env)
        assert self.runtime.observe() == ()
        return caught.value

    def inspect(self, name: str) -> dict[str, Any]:
        found = self.docker.inspect(name)
        assert found is not None
        return found

    def empty(self) -> None:
        for found in self.docker.containers(containers.ours(containers.data_id(self.settings))):
            self.docker.remove(found["Id"])


@pytest.fixture(scope="module")
def shared(engine: DockerClient) -> Iterator[World]:
    data = Path(tempfile.mkdtemp(prefix="hp-rt-", dir="/tmp"))
    made = World(engine, data)
    try:
        made.build()
        yield made
    finally:
        remove_from_engine(engine, data_label(data))
        made.docker.close()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.lines.clear()
    yield shared
    shared.empty()


def get(address: str, path: str = "/", timeout: float = 10) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
