"""Crash points: by construction before and after every call, and dead at exactly the one that was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.adapters import crash

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from app.adapters import crash

class Adapter:
    limit = 3
    def one(self, text, *, times=1): print("one", text * times, flush=True); return text
    def two(self): print("two", flush=True); return self.one("inner")
    def bad(self): raise ValueError("bad")
    def _own(self): return "own"

adapter = crash.guard("engine", Adapter())
crash.point("stage.early")
crash.arm()
crash.point("stage.plan")
assert adapter.one("a", times=2) == "a"
adapter.two()
assert adapter._own() == "own" and adapter.limit == 3
try:
    adapter.bad()
except ValueError:
    print("caught", flush=True)
adapter.one("b")
print("end", flush=True)
"""
ALL = [
    "stage.plan:1",
    "engine.one.before:1",
    "engine.one.after:1",
    "engine.two.before:1",
    "engine.two.after:1",
    "engine.bad.before:1",
    "engine.one.before:2",
    "engine.one.after:2",
]


def run(tmp_path: Path, crash_at: str | None = None, log: bool = True) -> tuple[int, list[str], list[str]]:
    """The exit code, what was printed, and the points that were passed."""
    file = tmp_path / "points"
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    env |= {"CRASH_AT": crash_at} if crash_at else {}
    env |= {"CRASH_LOG": str(file)} if log else {}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines(), file.read_text().splitlines() if file.exists() else []


def test_every_public_call_passes_two_points_in_order(tmp_path: Path) -> None:
    code, printed, points = run(tmp_path)
    assert (code, points) == (0, ALL)
    assert printed == ["one aa", "two", "one inner", "caught", "one b", "end"]


@pytest.mark.parametrize(
    ("point", "printed"),
    [
        ("stage.plan:1", []),
        ("engine.one.before:1", []),
        ("engine.one.after:1", ["one aa"]),
        ("engine.two.before:1", ["one aa"]),
        ("engine.one.before:2", ["one aa", "two", "one inner", "caught"]),
        ("engine.one.after:2", ["one aa", "two", "one inner", "caught", "one b"]),
    ],
)
def test_it_dies_at_the_nth_pass_and_the_point_is_logged(tmp_path: Path, point: str, printed: list[str]) -> None:
    code, said, points = run(tmp_path, point)
    assert code == -signal.SIGKILL
    assert said == printed
    assert points == ALL[: ALL.index(point) + 1]


@pytest.mark.parametrize("point", ["engine.one.before:3", "engine.one.before", "stage.early:1", "engine._own.before:1"])
def test_a_point_that_is_not_passed_kills_nobody(tmp_path: Path, point: str) -> None:
    code, printed, points = run(tmp_path, point, log=False)
    assert (code, printed[-1], points) == (0, "end", [])


class Adapter:
    def call(self) -> str:
        return "called"


def test_without_a_wish_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CRASH_AT", raising=False)
    monkeypatch.delenv("CRASH_LOG", raising=False)
    adapter = Adapter()
    assert crash.guard("a", adapter) is adapter
    monkeypatch.setenv("CRASH_AT", "a.call.before:9")
    wrapped = crash.guard("a", adapter)
    assert wrapped is not adapter
    assert wrapped.call() == "called"


def test_every_adapter_of_the_box_is_guarded() -> None:
    """`build` wraps what touches the outside; store and journal have the stage points."""
    text = (ROOT / "app" / "main.py").read_text()
    for name in ("docker", "disk", "runtime", "static", "bases", "git", "caddy", "prober"):
        assert f'crash.guard("{name}"' in text, name
