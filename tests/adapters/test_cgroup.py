"""The caps of builds: which group of which kernel, what is written there, and what counts as running out of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters import cgroup

V1 = {"CgroupVersion": "1", "CgroupDriver": "cgroupfs"}
V2 = {"CgroupVersion": "2", "CgroupDriver": "systemd"}


def located(info: dict[str, str], root: Path, *, buildx: bool = False, parent: str | None = None) -> cgroup.BuildGroup:
    group = cgroup.locate(info, buildx=buildx, parent=parent, root=root)
    assert isinstance(group, cgroup.BuildGroup)
    return group


def test_version_1_with_the_builtin_builder_is_below_the_engines_parent() -> None:
    root = Path("/sys/fs/cgroup")
    group = located(V1, root)
    assert cgroup.settings_of(group, 1 << 30, 1.5) == [
        (root / "memory/docker/buildkit/memory.limit_in_bytes", "1073741824"),
        (root / "cpu/docker/buildkit/cpu.cfs_period_us", "100000"),
        (root / "cpu/docker/buildkit/cpu.cfs_quota_us", "150000"),
        (root / "cpu/docker/buildkit/cpu.shares", "256"),
    ]
    assert group.option is None
    assert located(V1, root, parent="/box/engine").memory == root / "memory/box/engine/buildkit"


def test_version_2_with_buildx_is_a_group_of_our_own() -> None:
    root = Path("/sys/fs/cgroup")
    group = located(V2, root, buildx=True)
    assert group.option == "/homeport-build"
    assert cgroup.settings_of(group, 512 << 20, 0.5) == [
        (root / "homeport-build/memory.max", "536870912"),
        (root / "homeport-build/cpu.max", "50000 100000"),
        (root / "homeport-build/cpu.weight", "25"),
    ]


def test_a_scope_for_every_step_cannot_be_capped_and_says_so() -> None:
    reason = cgroup.locate(V2, buildx=False)
    assert isinstance(reason, str)
    assert "systemd" in reason


def test_version_2_enables_the_controllers_on_the_way_down(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("pids")
    group = located({"CgroupVersion": "2", "CgroupDriver": "cgroupfs"}, tmp_path, buildx=True)
    reason = cgroup.apply(group, 1 << 20, 1)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +cpu"
    assert reason == f"the kernel offers no memory.max for {tmp_path}/homeport-build"
    for name in ("memory.max", "cpu.max", "cpu.weight"):
        (tmp_path / "homeport-build" / name).touch()
    assert cgroup.apply(group, 1 << 20, 1) is None
    assert (tmp_path / "homeport-build/memory.max").read_text() == "1048576"


def test_a_group_that_cannot_be_made_is_a_reason_in_words(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file, no folder")
    reason = cgroup.apply(located(V1, tmp_path), 1 << 20, 1)
    assert reason is not None
    assert "Not a directory" in reason


@pytest.mark.parametrize(
    ("count", "exit_code", "tail", "expected"),
    [
        (9, 137, (), True),
        (9, 1, ("make: *** [all] Killed",), True),
        (9, 1, ("error: a typo",), False),
        (5, 137, (), False),
    ],
)
def test_version_1_needs_pressure_and_a_killed_step(
    tmp_path: Path, count: int, exit_code: int, tail: tuple[str, ...], expected: bool
) -> None:
    group = located(V1, tmp_path)
    group.memory.mkdir(parents=True)
    (group.memory / "memory.failcnt").write_text(f"{count}\n")
    assert cgroup.ran_out(group, 5, exit_code, tail) is expected


def test_version_2_counts_the_kills(tmp_path: Path) -> None:
    group = located(V2, tmp_path, buildx=True)
    group.memory.mkdir(parents=True)
    (group.memory / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert cgroup.pressure(group) == 1
    assert cgroup.ran_out(group, 0, 1, ())
    assert not cgroup.ran_out(group, 1, 137, ())
