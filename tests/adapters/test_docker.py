"""The engine's adapter against an engine at the wire: timeouts, and the engine's answers as our errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters import docker as adapter
from app.adapters.docker import Docker, EngineRefused
from app.adapters.process import Cancel
from app.errors import Canceled, Conflict, HomeportError, NotFound, OutOfSpace, Unavailable
from app.settings import Settings
from tests.fake_engine import FakeEngine


@pytest.fixture
def fake(data_folder: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(data_folder / "engine.sock")
    yield engine
    engine.close()


@pytest.fixture
def docker(fake: FakeEngine, data_folder: Path) -> Iterator[Docker]:
    docker = Docker(Settings(data=str(data_folder), docker_host=fake.host))
    yield docker
    docker.close()


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "No such image: x", NotFound),
        (409, "Conflict. The container name is already in use", Conflict),
        (400, "No command specified", EngineRefused),
        (500, "OCI runtime create failed: …", EngineRefused),
        (500, "write /var/lib/docker/x: no space left on device", OutOfSpace),
    ],
)
def test_what_the_engine_answers_becomes_one_of_our_errors(
    fake: FakeEngine, docker: Docker, status: int, said: str, kind: type[HomeportError]
) -> None:
    fake.answers["POST /containers/create"] = (status, {"message": said})
    with pytest.raises(kind) as caught:
        docker.create("hp-x", {"Image": "x"})
    assert said in caught.value.cause


def test_an_engine_that_is_not_there_is_unavailable(data_folder: Path) -> None:
    missing = Docker(Settings(data=str(data_folder), docker_host=f"unix://{data_folder}/none.sock"))
    with pytest.raises(Unavailable) as caught:
        missing.info()
    assert caught.value.cause.startswith("The Docker engine does not answer (asked to describe the engine)")
    assert "systemctl status docker" in caught.value.hint


def test_an_engine_that_hangs_is_given_up_on(fake: FakeEngine, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "CALL_TIMEOUT", 0.3)
    docker.info()
    fake.silence = 10.0
    started = time.monotonic()
    with pytest.raises(Unavailable):
        docker.inspect("x")
    assert time.monotonic() - started < 9


@pytest.mark.parametrize("call", ["stop", "kill", "remove"])
def test_ending_what_is_gone_already_is_fine(docker: Docker, call: str) -> None:
    getattr(docker, call)("gone", *([1.0] if call == "stop" else []))


def test_what_is_not_there_is_none(docker: Docker) -> None:
    assert (docker.inspect("gone"), docker.image("gone:1"), docker.tail("gone", 5)) == (None, None, [])


def test_an_image_in_use_stays(fake: FakeEngine, docker: Docker) -> None:
    fake.answers["DELETE /images/hp-x:1"] = (409, {"message": "image is being used by running container"})
    fake.answers["DELETE /images/hp-x:2"] = (200, [{"Untagged": "hp-x:2"}])
    assert [docker.remove_image(f"hp-x:{n}") for n in (1, 2, 3)] == [False, True, False]


@pytest.mark.parametrize(
    ("reference", "name", "tag"),
    [
        ("python:3.11-slim", "python", "3.11-slim"),
        ("python", "python", "latest"),
        ("box.test:5000/a/b", "box.test:5000/a/b", "latest"),
        ("box.test:5000/a/b:2", "box.test:5000/a/b", "2"),
    ],
)
def test_a_pull_names_one_tag_never_all(reference: str, name: str, tag: str) -> None:
    assert adapter.name_and_tag(reference) == (name, tag)


def test_a_build_slot_is_waited_for_and_canceled(data_folder: Path) -> None:
    docker = Docker(Settings(data=str(data_folder), build_slots=1))
    lines: list[str] = []
    cancel = Cancel()
    with docker.build_slot(lines.append, cancel):
        cancel.set()
        with pytest.raises(Canceled), docker.build_slot(lines.append, cancel):
            pytest.fail("there was one slot only")
    assert lines == ["waiting for a build slot: 1 builds run already"]
    with docker.build_slot(lines.append, Cancel()):
        assert len(lines) == 1
