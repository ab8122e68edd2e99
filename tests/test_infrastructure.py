"""The tests' own tools do what the tests rely on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.box import wait_until
from tests.conftest import fail_skips_in_ci
from tests.leftovers import processes_of
from tests.repository import Repository


def report(outcome: str) -> pytest.TestReport:
    location = ("test_x.py", 1, "test_x")
    return pytest.TestReport("test_x.py::test_x", location, {}, outcome, None, "setup")  # type: ignore[arg-type]


def test_in_ci_a_skip_is_a_failure() -> None:
    skipped, passed = report("skipped"), report("passed")

    fail_skips_in_ci(skipped, in_ci=True)
    fail_skips_in_ci(passed, in_ci=True)

    assert (skipped.outcome, passed.outcome) == ("failed", "passed")


def test_elsewhere_a_skip_is_a_skip() -> None:
    skipped = report("skipped")

    fail_skips_in_ci(skipped, in_ci=False)

    assert skipped.outcome == "skipped"


def test_the_environment_is_clean() -> None:
    assert [name for name in os.environ if name.startswith("HOMEPORT_") or name == "NO_COLOR"] == []


def test_ports_are_different_and_free(free_ports: Callable[[int], list[int]]) -> None:
    ports = free_ports(5)

    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_a_repository_has_a_commit_for_every_edit(repository: Callable[..., Repository]) -> None:
    source = repository("path-static")
    before = source.git("rev-parse", "HEAD")

    after = source.edit("index.html", "version 1", "version 2")

    assert before != after
    assert source.git("status", "--porcelain") == ""
    assert "version 2" in (source.path / "index.html").read_text()


def test_processes_are_found_by_the_folder_that_they_name(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)])
    try:
        wait_until(lambda: list(processes_of(tmp_path)) == [sleeper.pid], "the process is found", 5)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert list(processes_of(tmp_path)) == []


def test_waiting_says_what_did_not_come() -> None:
    with pytest.raises(AssertionError, match="the bus"):
        wait_until(lambda: False, "the bus", seconds=0.05)
