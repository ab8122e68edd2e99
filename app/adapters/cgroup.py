"""The control group that builds run in: which files cap it, and whether the kernel killed for memory in it.

BuildKit puts every RUN step into `<parent>/buildkit/<step>`. The engine's built-in builder decides the parent itself; buildx
can be told one. A limit on the common folder holds for all builds of the machine together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

PERIOD = 100_000
"""Microseconds over which CPU time is counted."""
SHARE_V1 = 256
"""Against 1024 of every container: a build gets what running applications leave, and a fifth when all are busy."""
WEIGHT_V2 = 25
OWN_PARENT = "/homeport-build"

_ROOT = Path("/sys/fs/cgroup")


class BuildGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Where builds run. `option` is the --cgroup-parent that buildx needs for it, None for the engine's own parent."""

    version: int
    root: Path
    memory: Path
    cpu: Path
    option: str | None = None


def locate(info: dict[str, Any], *, buildx: bool, parent: str | None = None, root: Path = _ROOT) -> BuildGroup | str:
    """The group that builds of this engine run in, or why there is none to cap, in words.

    `info` is the engine's own description; `parent` is its configured cgroup-parent.
    """
    version = 2 if str(info.get("CgroupVersion", "1")) == "2" else 1
    systemd = info.get("CgroupDriver") == "systemd"
    if buildx:
        return _group(version, root, OWN_PARENT, OWN_PARENT)
    if systemd:
        return "the engine runs every build step in a scope of systemd's, and its builder cannot be told another place"
    return _group(version, root, f"/{(parent or 'docker').strip('/')}/buildkit", None)


def _group(version: int, root: Path, path: str, option: str | None) -> BuildGroup:
    memory, cpu = (root, root) if version == 2 else (root / "memory", root / "cpu")
    return BuildGroup(version=version, root=root, memory=memory / path[1:], cpu=cpu / path[1:], option=option)


def settings_of(group: BuildGroup, memory: int, cpus: float) -> list[tuple[Path, str]]:
    """The files to write, and what. `memory` in bytes; `cpus` of all builds together."""
    quota = max(1000, int(cpus * PERIOD))
    if group.version == 2:
        return [
            (group.memory / "memory.max", str(memory)),
            (group.cpu / "cpu.max", f"{quota} {PERIOD}"),
            (group.cpu / "cpu.weight", str(WEIGHT_V2)),
        ]
    return [
        (group.memory / "memory.limit_in_bytes", str(memory)),
        (group.cpu / "cpu.cfs_period_us", str(PERIOD)),
        (group.cpu / "cpu.cfs_quota_us", str(quota)),
        (group.cpu / "cpu.shares", str(SHARE_V1)),
    ]


def apply(group: BuildGroup, memory: int, cpus: float) -> str | None:
    """Make the group and cap it. Returns None, or why that could not be done."""
    try:
        if group.version == 2:
            _enable_above(group)
        for folder in {group.memory, group.cpu}:
            folder.mkdir(parents=True, exist_ok=True)
        for path, value in settings_of(group, memory, cpus):
            if not path.exists():
                return f"the kernel offers no {path.name} for {path.parent}"
            path.write_text(value)
    except OSError as error:
        return f"{error.filename or group.memory}: {error.strerror}"
    return None


def _enable_above(group: BuildGroup) -> None:
    for folder in reversed([parent for parent in group.memory.parents if parent.is_relative_to(group.root)]):
        folder.mkdir(exist_ok=True)
        _enable(folder / "cgroup.subtree_control")


def _enable(control: Path) -> None:
    wanted = [name for name in ("memory", "cpu") if name not in control.read_text().split()]
    if wanted:
        control.write_text(" ".join(f"+{name}" for name in wanted))


def pressure(group: BuildGroup) -> int:
    """A counter that grows when memory ran out in the group: kills (version 2), or refused charges (version 1)."""
    try:
        if group.version == 2:
            match = re.search(r"^oom_kill (\d+)$", (group.memory / "memory.events").read_text(), re.MULTILINE)
            return int(match[1]) if match else 0
        return int((group.memory / "memory.failcnt").read_text())
    except OSError:
        return 0


def ran_out(group: BuildGroup, before: int, exit_code: int | None, tail: Iterable[str]) -> bool:
    """Whether a failed build was killed for memory. Version 1 counts reclaims too: there a killed step must be seen."""
    if pressure(group) <= before:
        return False
    if group.version == 2 or exit_code == 137:
        return True
    return any(re.search(r"\bKilled\b|signal: killed|out of memory|Cannot allocate memory|MemoryError", line) for line in tail)
