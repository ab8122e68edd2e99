"""What all tests share: a clean environment, ports and folders, the real components, and a running box."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.appliance import Appliance
from app.catalog import Catalog
from app.model import Environment
from app.store import Store
from tests.box import Box, caddy_path
from tests.nouns import box_over, new_environment, open_store
from tests.repository import EXAMPLES, Repository

if TYPE_CHECKING:
    from docker import DockerClient

IN_CI = bool(os.environ.get("HOMEPORT_CI"))

_UNWANTED = (
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "LINES",
    "PAGER",
    "EDITOR",
    "XDG_CONFIG_HOME",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")
    parser.addoption("--points", default="", metavar="TEXT", help="crash sweep: only the points with TEXT in their name")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing of the developer's own settings reaches a test."""
    # Started in the background of a shell, this process would ignore Ctrl-C, and so would every program that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name in _UNWANTED or name.startswith(("HOMEPORT_", "GIT_AUTHOR", "GIT_COMMITTER", "GIT_DIR", "CRASH_")):
            del os.environ[name]
    os.environ.update(
        GIT_CONFIG_GLOBAL=os.devnull,
        GIT_CONFIG_NOSYSTEM="1",
        GIT_TERMINAL_PROMPT="0",
        GIT_AUTHOR_NAME="Ada",
        GIT_AUTHOR_EMAIL="ada@example.test",
        GIT_COMMITTER_NAME="Ada",
        GIT_COMMITTER_EMAIL="ada@example.test",
        LC_ALL="C.UTF-8",
        TZ="UTC",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail_skips_in_ci(report, IN_CI)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail_skips_in_ci(report, IN_CI)
    return report


def fail_skips_in_ci(report: pytest.TestReport | pytest.CollectReport, in_ci: bool) -> None:
    """In CI everything is installed, so a skip there is something that went wrong."""
    if in_ci and report.skipped and not hasattr(report, "wasxfail"):
        report.longrepr = f"skipped, and in CI nothing may be: {report.longrepr}"
        report.outcome = "failed"


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Makes n different free ports of loopback, below the range that outgoing connections take theirs from."""
    given: set[int] = set()

    def find(count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            port = random.randrange(20000, 32000)
            with socket.socket() as probe:
                if port not in given and probe.connect_ex(("127.0.0.1", port)) != 0:
                    found.append(port)
                    given.add(port)
        return found

    return find


@pytest.fixture
def free_port(free_ports: Callable[[int], list[int]]) -> int:
    """One port of loopback that nothing listens on."""
    return free_ports(1)[0]


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A folder for a box's data, with a path short enough for unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="hp-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of its own for each test."""
    opened = open_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def environment(store: Store) -> Environment:
    """The production environment of a new project `web`."""
    return new_environment(store)


@pytest.fixture
def rung() -> list[str]:
    """One entry for each time that `box` woke its workers."""
    return []


@pytest.fixture
def box(store: Store, tmp_path: Path, rung: list[str]) -> Appliance:
    """An appliance with a real store, and nothing that runs anything."""
    return box_over(store, tmp_path, wake=lambda: rung.append("wake"))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The bundles that come with Homeport."""
    return Catalog.load(None)


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """The Docker engine of this machine, by its SDK."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except (DockerException, OSError) as error:
        pytest.skip(f"no Docker engine answers ({error}); ./tests/run starts one")
    yield client
    client.close()


@pytest.fixture(scope="session")
def caddy_binary() -> str:
    """A Caddy of at least 2.11."""
    path = caddy_path()
    if path is None:
        pytest.skip("no caddy in the virtual environment or in PATH; ./tests/run installs it")
    text = subprocess.run([path, "version"], capture_output=True, text=True, check=True, timeout=30).stdout
    version = tuple(int(part) for part in text.split()[0].lstrip("v").split(".")[:2])
    if version < (2, 11):
        pytest.skip(f"{path} is {text.split()[0]}, and 2.11 is needed; ./tests/run installs it")
    return path


@pytest.fixture
def homeportd(engine: DockerClient, caddy_binary: str, free_ports: Callable[[int], list[int]]) -> Iterator[Callable[..., Box]]:
    """Makes running boxes: `homeportd()`, or `homeportd(env={…}, settings={…})`. All are taken away afterwards."""
    boxes: list[Box] = []

    def make(*, env: dict[str, str] | None = None, settings: dict[str, Any] | None = None, start: bool = True) -> Box:
        box = Box(free_ports(2), caddy=caddy_binary, settings=settings or {})
        boxes.append(box)
        if start:
            box.start(env=env)
        return box

    yield make
    for box in boxes:
        box.clean(engine)


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Repository]:
    """Makes a git repository out of tests/examples/<name>: `repository("flask")`."""

    def make(name: str, *, to: str | None = None) -> Repository:
        return Repository.of(EXAMPLES / name, tmp_path / (to or name))

    return make


@pytest.fixture
def venv_bin() -> Path:
    """Where the commands of the virtual environment are."""
    return Path(sys.executable).parent
