"""The image stage on a real engine: builds, what is not built again, failures in words, ends that are real, secrets that stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from app.adapters import cgroup
from app.adapters.bases import Bases
from app.adapters.docker import Docker
from app.adapters.process import Cancel
from app.appliance import Appliance
from app.deploy import building
from app.errors import Canceled, StageFailed
from app.model import Deployment, Image, Plan
from app.runtimes.static import site_folder
from app.settings import Settings
from tests.box import ROOT, wait_until
from tests.leftovers import data_label, remove_from_engine
from tests.wanted import plan

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.e2e

CANARY = "canary-0c1b2a39-secret"
BASE = "python:3.11-slim"


class World:
    """A box with a real engine, and a store and a journal that only remember."""

    def __init__(self, engine: DockerClient, data: Path) -> None:
        self.engine = engine
        self.data = data
        self.settings = Settings(data=str(data))
        self.docker = Docker(self.settings)
        self.bases = Bases(self.docker, self.settings)
        self.env: dict[str, str] = {}
        self.lines: list[str] = []
        self.intents: list[tuple[str, str]] = []
        self.cancel = Cancel()
        self.deployment = Deployment(
            id="dep1",
            organization_id="org1",
            project_id="prj1",
            environment_id="env1",
            number=1,
            status="image",
            trigger="upload",
            created_at="2026-01-01T00:00:00Z",
            created_by="ada",
        )
        self.source = data / "src"
        self.source.mkdir()

    def intend(self, deployment: Deployment, kind: str, name: str) -> AbstractContextManager[None]:
        self.intents.append((kind, name))
        return nullcontext()

    @property
    def box(self) -> Appliance:
        values = {
            "settings": self.settings,
            "docker": self.docker,
            "bases": self.bases,
            "store": SimpleNamespace(
                env=SimpleNamespace(values=lambda environment, version: self.env),
                projects=SimpleNamespace(get=lambda project: SimpleNamespace(slug="shop")),
            ),
            "journal": SimpleNamespace(
                log=lambda deployment: self.lines.append,
                cancel=lambda deployment: self.cancel,
                intend=self.intend,
            ),
        }
        return cast(Appliance, SimpleNamespace(**values))

    def build(self, wanted: Plan, tree: str = "tree1") -> Image:
        checkout = SimpleNamespace(path=self.source, tree=tree, commit="c", message="m")
        return building.build(self.box, self.deployment, cast(Any, checkout), wanted)

    def fail(self, wanted: Plan, tree: str = "tree1") -> StageFailed:
        with pytest.raises(StageFailed) as caught:
            self.build(wanted, tree)
        assert self.leftovers() == []
        return caught.value

    def dockerfile(self, *steps: str, **changes: Any) -> Plan:
        text = "\n".join((f"FROM {BASE}", f"ENV RUN_OF={self.data.name}", *steps)) + "\n"
        return plan(dockerfile=text, base_images=(BASE,), **changes)

    def leftovers(self) -> list[str]:
        work = self.data / "work"
        return sorted(path.name for path in work.iterdir()) if work.exists() else []


@pytest.fixture
def world(engine: DockerClient) -> Iterator[World]:
    data = Path(tempfile.mkdtemp(prefix="hp-im-", dir="/tmp"))
    made = World(engine, data)
    try:
        yield made
    finally:
        remove_from_engine(engine, data_label(data))
        made.docker.close()
        shutil.rmtree(data, ignore_errors=True)


def running(marker: str) -> list[int]:
    """Processes of this machine with `marker` among their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if marker.encode() in words:
                found.append(int(entry.name))
    return found


def test_an_image_is_built_once_and_carries_our_labels(world: World) -> None:
    (world.source / "app.py").write_text("print('hello')\n")
    wanted = world.dockerfile("COPY app.py /app.py")
    first = world.build(wanted)
    assert (first.runtime, first.reused, world.intents) == ("docker", False, [("image", first.tag)])
    labels = world.docker.image(first.tag)["Config"]["Labels"]  # type: ignore[index]
    assert {key: value for key, value in labels.items() if key.startswith("homeport.") and "stand-in" not in key} == {
        "homeport.managed": "1",
        "homeport.data": data_label(world.data),
        "homeport.organization": "org1",
        "homeport.project": "prj1",
    }
    assert world.leftovers() == []
    world.lines.clear()
    second = world.build(wanted)
    assert (second.tag, second.digest, second.reused) == (first.tag, first.digest, True)
    assert world.lines == [f"unchanged: {first.tag} was built before"]
    assert world.build(wanted, tree="tree2").reused is False


def test_a_failing_step_is_told_with_code_and_last_lines(world: World) -> None:
    failed = world.fail(world.dockerfile('RUN echo one; echo "the reason"; exit 42'))
    assert (failed.failure_code, failed.exit_code, failed.log_tail) == ("build-failed", 42, ("one", "the reason"))
    assert failed.cause.startswith("The build failed in `[3/3] RUN echo one") or "RUN echo one" in failed.cause
    assert "with exit code 42" in failed.cause
    assert "the reason" in world.lines


def test_a_dockerfile_with_a_typo_is_told(world: World) -> None:
    failed = world.fail(world.dockerfile("COYP a b"))
    assert (failed.failure_code, "unknown instruction: COYP" in failed.cause) == ("build-failed", True)


@pytest.mark.parametrize("known", [True, False])
def test_a_base_image_that_cannot_be_had(world: World, known: bool) -> None:
    missing = "registry.invalid/nobody/nothing:9"
    wanted = plan(dockerfile=f"FROM {missing}\nRUN true\n", base_images=(missing,) if known else ())
    failed = world.fail(wanted)
    assert (failed.failure_code, missing in failed.cause) == ("image-not-found", True)
    assert "no registry could be reached" in failed.cause


def test_a_build_that_runs_out_of_memory(world: World) -> None:
    if world.docker.build_caps() is not None:
        pytest.skip(f"builds cannot be capped here: {world.docker.build_caps()}")
    hog = "python3 -c \"import os; held = [os.urandom(1 << 20) for _ in range(400)]; print('survived')\""
    failed = world.fail(world.dockerfile(f"RUN {hog}", build_memory=100 << 20))
    assert failed.failure_code == "out-of-memory"
    assert "(limit 100 MiB)" in failed.cause
    assert "survived" not in world.lines
    world.build(world.dockerfile(f"RUN {hog}", build_memory=900 << 20))


def test_builds_run_inside_the_group_that_is_capped(world: World) -> None:
    if world.docker.build_caps() is not None:
        pytest.skip(f"builds cannot be capped here: {world.docker.build_caps()}")
    group = cgroup.locate(world.docker.info(), buildx=world.docker.find_cli().buildx)
    assert isinstance(group, cgroup.BuildGroup)
    world.build(world.dockerfile("RUN cat /proc/self/cgroup"))
    path = "/" + str(group.memory.relative_to(group.root)).removeprefix("memory/")
    assert any(f":{path}/" in line for line in world.lines), world.lines
    written = [file.read_text().strip() for file, _ in cgroup.settings_of(group, 1 << 30, 1.0)]
    assert written == [value for _, value in cgroup.settings_of(group, 1 << 30, 1.0)]


def test_a_frontend_that_cannot_be_pulled_is_done_without(world: World) -> None:
    if world.bases.unreached() is None:
        pytest.skip("a registry answers here, so the frontend is pulled")
    wanted = world.dockerfile("RUN true")
    world.build(msgspec.structs.replace(wanted, dockerfile=f"# syntax=docker/dockerfile:1\n{wanted.dockerfile}"))
    assert "note: no registry is reached" in "\n".join(world.lines)


def test_a_build_on_a_full_disk(world: World) -> None:
    assert world.fail(world.dockerfile("RUN head -c 100000 /dev/zero > /dev/full")).failure_code == "disk-full"


def test_a_canceled_build_really_ends(world: World) -> None:
    naptime = f"100.1{os.getpid()}"
    raised: list[BaseException] = []

    def carry() -> None:
        try:
            world.build(world.dockerfile(f"RUN sleep {naptime}"))
        except Canceled as error:
            raised.append(error)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    wait_until(lambda: running(naptime), "the step runs", seconds=60)
    started = time.monotonic()
    world.cancel.set()
    thread.join(timeout=20)
    assert not thread.is_alive()
    wait_until(lambda: not running(naptime), "its process is gone", seconds=20)
    assert time.monotonic() - started < 20
    assert (len(raised), world.leftovers()) == (1, [])


def test_a_build_that_takes_too_long_really_ends(world: World) -> None:
    naptime = f"100.2{os.getpid()}"
    failed = world.fail(world.dockerfile(f"RUN sleep {naptime}", build_timeout=3.0))
    assert (failed.failure_code, "longer than 3 s" in failed.cause) == ("build-timeout", True)
    wait_until(lambda: not running(naptime), "its process is gone", seconds=20)


def test_a_build_ends_when_its_server_is_killed(world: World) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv here, so builds outlive a killed server")
    naptime = f"100.3{os.getpid()}"
    (world.source / "Dockerfile").write_text(f"FROM {BASE}\nRUN sleep {naptime}\n")
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(world.data), str(world.source)], cwd=ROOT)
    try:
        wait_until(lambda: running(naptime), "the step runs", seconds=60)
    finally:
        server.kill()
        server.wait()
    wait_until(lambda: not running(naptime), "its process is gone", seconds=20)


SERVER = """
import pathlib, sys
from app.adapters.buildkit import Build
from app.adapters.docker import Docker
from app.adapters.process import Cancel
from app.settings import Settings
source = pathlib.Path(sys.argv[2])
Docker(Settings(data=sys.argv[1])).build(Build(context=source, dockerfile=source / "Dockerfile"), lambda line: None, Cancel())
"""


def test_build_secrets_reach_the_step_and_nothing_else(world: World) -> None:
    world.env = {"TOKEN": CANARY, "OTHER": "not for the build"}
    steps = (
        "RUN --mount=type=secret,id=TOKEN sha256sum /run/secrets/TOKEN > /sum",
        'RUN --mount=type=secret,id=homeport_env . /run/secrets/homeport_env && test -n "$TOKEN" && test -z "$OTHER"',
    )
    image = world.build(world.dockerfile(*steps, env_build=("TOKEN",)))
    words = [
        subprocess.run(["/usr/bin/docker", *argv], capture_output=True, text=True, check=True, timeout=60).stdout
        for argv in (["history", "--no-trunc", image.tag], ["inspect", image.tag])
    ]
    assert not any(CANARY in text for text in [*words, *world.lines])
    layers = subprocess.run(["/usr/bin/docker", "save", image.tag], capture_output=True, check=True, timeout=120).stdout
    assert CANARY.encode() not in layers
    world.docker.remove_image(image.tag)


def test_a_changed_secret_builds_the_step_that_reads_it_anew(world: World) -> None:
    wanted = world.dockerfile("RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN", env_build=("TOKEN",))
    world.env = {"TOKEN": "value-one"}
    first = world.build(wanted)
    world.env = {"TOKEN": "value-two"}
    second = world.build(wanted)
    assert first.tag != second.tag
    assert "value-two" in world.lines


def test_a_context_that_leads_out_is_refused(world: World) -> None:
    (world.source / "out").symlink_to("/")
    for context in ("..", "out"):
        assert world.fail(world.dockerfile("RUN true", context=context)).failure_code == "source-refused"


# sites


def test_a_site_without_a_build_is_published(world: World) -> None:
    (world.source / "public").mkdir()
    (world.source / "public/index.html").write_text("<p>hi</p>")
    wanted = plan(bundle="static", runtime="static", port=None, output="public")
    image = world.build(wanted)
    folder = site_folder(world.settings, "prj1", image.tag)
    assert ([path.name for path in folder.iterdir()], image.digest[:7]) == (["index.html"], "sha256:")
    again = world.build(wanted)
    assert (again.reused, again.digest) == (True, image.digest)
    assert world.fail(plan(bundle="static", runtime="static", output="missing")).failure_code == "output-missing"


def test_a_site_with_a_build_is_what_the_last_stage_holds(world: World) -> None:
    (world.source / "page.txt").write_text("page")
    text = f"FROM {BASE} AS build\nCOPY page.txt /w/dist/index.html\nFROM scratch\nCOPY --from=build /w/dist /site\n"
    image = world.build(plan(bundle="vite", runtime="static", dockerfile=text, base_images=(BASE,), output="/site"))
    folder = site_folder(world.settings, "prj1", image.tag)
    assert (folder / "index.html").read_text() == "page"
    assert world.leftovers() == []
