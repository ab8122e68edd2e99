"""The pins agree with pyproject.toml: every dependency is pinned, hashed, and within its range."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+) \\$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return {normal(match[1]): match[2] for line in lines if (match := PIN.match(line))}


def wanted(extra: str | None) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else [])]


@pytest.mark.parametrize(("lock", "extra"), [("requirements.lock", None), ("requirements-dev.lock", "dev")])
def test_every_dependency_is_pinned_within_its_range(lock: str, extra: str | None) -> None:
    from packaging.requirements import Requirement

    pinned = pins(lock)
    requirements = [Requirement(text) for text in wanted(extra)]

    assert [r.name for r in requirements if normal(r.name) not in pinned] == []
    assert [str(r) for r in requirements if not r.specifier.contains(pinned[normal(r.name)])] == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_every_line_is_a_pin_or_one_of_its_hashes(lock: str) -> None:
    lines = [line for line in (ROOT / lock).read_text().splitlines() if line and not line.startswith("#")]
    hashes = [line for line in lines if re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?", line)]

    assert [line for line in lines if not PIN.match(line) and line not in hashes] == []
    assert len(hashes) >= len(pins(lock))


def test_both_locks_pin_the_same_versions() -> None:
    runtime, development = pins("requirements.lock"), pins("requirements-dev.lock")

    assert {name: (version, development.get(name)) for name, version in runtime.items() if development.get(name) != version} == {}
