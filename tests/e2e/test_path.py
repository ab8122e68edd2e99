"""The product's one path, for five real repositories: deploy, redeploy under load, break, roll back without a network.

The load generator shares nothing with the product: its count of failures is compared with the product's own.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from docker import DockerClient

from tests.box import Box, Deployed
from tests.isolated import Machine
from tests.load_process import LoadProcess
from tests.repository import Repository

pytestmark = pytest.mark.e2e

ENDS_WITH = {"project", "number", "status", "url", "dropped", "longest_wait_ms", "seconds"}
RATE = 200
AROUND = 1.0
"""Seconds of load before and after a deploy."""


@dataclass(frozen=True)
class Example:
    """A repository that answers `version 1`: where that stands, how it is broken, and what a person must be told then."""

    name: str
    file: str
    breaking: tuple[str, str | None, str]
    """File, what is replaced in it (None: the file is new), and by what."""
    told: tuple[str, ...]

    def edit(self, repository: Repository, old: str, new: str) -> None:
        repository.edit(self.file, old, new)

    def break_it(self, repository: Repository) -> None:
        name, old, new = self.breaking
        if old is None:
            (repository.path / name).write_text(new)
            repository.commit("broken")
        else:
            repository.edit(name, old, new)


APPLICATIONS = [
    Example(
        "static", "index.html", ("homeport.toml", None, '[run.health]\npath = "/missing"\ntimeout = "3s"\n'), ("/missing", "404")
    ),
    Example(
        "flask",
        "app.py",
        ("app.py", "app = Flask", 'raise RuntimeError("no database")\napp = Flask'),
        ("RuntimeError: no database",),
    ),
    Example(
        "fastapi",
        "main.py",
        ("main.py", "app = FastAPI", 'import os\n\nTOKEN = os.environ["API_TOKEN"]\napp = FastAPI'),
        ("API_TOKEN", "env set"),
    ),
    Example("express", "index.js", ("index.js", "process.env.PORT || 3000", "3999"), ("3999", "port")),
    Example("go", "main.go", ("main.go", "fmt.Fprint(w, ", "fmt.Sprout(w, "), ("Sprout",)),
]


@pytest.fixture(scope="module")
def machine(engine: DockerClient) -> Iterator[Machine]:
    """A namespace with an engine of its own, which has the base images of this machine's."""
    names = [tag for image in engine.images.list() for tag in image.tags]
    bases = [name for name in names if name.split(":")[0] in ("debian", "python", "node", "golang")]
    if not bases:
        pytest.skip("this machine's engine has no base images; ./tests/run makes them")
    with Machine.running() as running:
        running.load_images(bases)
        yield running


@pytest.fixture(scope="module")
def box(machine: Machine, caddy_binary: str, free_ports: Callable[[int], list[int]]) -> Iterator[Box]:
    from docker import DockerClient

    box = Box(free_ports(2), caddy=caddy_binary, settings={}, place=machine.place)
    try:
        box.start()
        yield box
    finally:
        client = DockerClient(base_url=machine.engine)
        box.clean(client)
        client.close()


@pytest.mark.parametrize("example", APPLICATIONS, ids=lambda example: example.name)
def test_the_path(example: Example, box: Box, machine: Machine, repository: Callable[..., Repository]) -> None:
    project = f"path-{example.name}"
    source = repository(project)

    url = first_deploy(box, source, project)
    config = configuration(box)
    example.edit(source, "version 1", "version 2")
    redeploy_under_load(box, source, project, url)
    assert configuration(box) == config, "a deploy leaves Caddy's configuration as it is"

    example.break_it(source)
    broken_deploy(example, box, source, url)
    assert configuration(box) == config

    shutil.rmtree(source.path)
    for kept in (box.data / "repos").iterdir():
        shutil.rmtree(kept)
    machine.prune_builder()
    with machine.no_routes():
        roll_back(box, project, url)
    assert configuration(box) == config


def first_deploy(box: Box, source: Repository, project: str) -> str:
    first = box.deploy(source.path, project)

    assert first.exit_code == 0, explained(box, first)
    assert set(first.last) >= ENDS_WITH
    assert (first.last["project"], first.last["number"], first.last["status"]) == (project, 1, "live")
    assert first.last["dropped"] is None, "nothing was there that could have been dropped"
    assert set(first.last["seconds"]) == {"source", "plan", "image", "rollout", "route", "health"}
    url = str(first.last["url"])
    assert visit(box, url) == (200, "1")
    return url


def redeploy_under_load(box: Box, source: Repository, project: str, url: str) -> None:
    with LoadProcess(url, RATE, seen=r"version (\d+)", prefix=box.place.prefix) as load:
        time.sleep(AROUND)
        second = box.deploy(source.path, project)
        assert visit(box, url) == (200, "2")
        time.sleep(AROUND)
    print(f"{project}: {second.last}\n  load: {load.report}")

    assert second.exit_code == 0, explained(box, second)
    assert (second.last["number"], second.last["status"], second.last["url"]) == (2, "live", url)
    assert load.report["failed"] == 0, load.report
    assert second.last["dropped"] == load.report["failed"]
    assert second.last["longest_wait_ms"] is not None
    assert set(load.report["versions"]) == {"1", "2"}
    assert load.report["sent"] >= RATE * 2 * AROUND


def broken_deploy(example: Example, box: Box, source: Repository, url: str) -> None:
    with LoadProcess(url, RATE / 4, seen=r"version (\d+)", prefix=box.place.prefix) as load:
        failed = box.deploy(source.path, f"path-{example.name}")

    assert failed.exit_code == 7, explained(box, failed)
    assert failed.last["status"] == "failed"
    said = failed.stderr + str(failed.last)
    assert [words for words in example.told if words not in said] == [], said
    assert visit(box, url) == (200, "2")
    assert (load.report["failed"], set(load.report["versions"])) == (0, {"2"}), load.report


def roll_back(box: Box, project: str, url: str) -> None:
    with LoadProcess(url, RATE / 2, seen=r"version (\d+)", prefix=box.place.prefix) as load:
        begin = time.monotonic()
        back = box.rollback(project)
        seconds = time.monotonic() - begin
        assert visit(box, url) == (200, "1")

    assert back.exit_code == 0, explained(box, back)
    assert back.last["status"] == "live"
    assert seconds < 10
    assert load.report["failed"] == 0, load.report


def configuration(box: Box) -> str:
    """The hash of what Caddy says its configuration is."""
    return hashlib.sha256(box.caddy_config()).hexdigest()


def visit(box: Box, url: str) -> tuple[int, str]:
    """The status, and the version in the body."""
    status, body = box.get(urlsplit(url).hostname or "")
    return status, body.partition("version ")[2][:1]


def explained(box: Box, deployed: Deployed) -> str:
    return f"{deployed.objects}\n{deployed.stderr}\n{box.output()}"
