"""F2: a process killed at any of its syncs has lost no write that it acknowledged, and the database is whole."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from app.settings import Settings
from app.store import Store

ROWS = 4
WRITER = Path(__file__).parent / "writer.py"

pytestmark = pytest.mark.e2e


def write_under_strace(data: Path, kill_at: tuple[str, int] | None) -> tuple[list[dict[str, str]], int, Counter[str]]:
    """What the writer acknowledged, its exit code, and its syncs by system call; killed at the n-th of one of them."""
    data.mkdir(parents=True)
    trace = data.parent / "trace"
    inject = ["-e", f"inject={kill_at[0]}:signal=SIGKILL:when={kill_at[1]}"] if kill_at else []
    argv = ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fdatasync,fsync", *inject]
    done = subprocess.run([*argv, sys.executable, str(WRITER), str(data), str(ROWS)], capture_output=True, timeout=120)
    assert kill_at or done.returncode == 0, done.stderr.decode()
    syncs = Counter(re.findall(r"\b(fdatasync|fsync)\(", trace.read_text()))
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, syncs


def missing_from(data: Path, acknowledged: list[dict[str, str]]) -> list[str]:
    """What was acknowledged and is not there any more, or what is wrong with the file."""
    store = Store(Settings(data=str(data)))
    try:
        projects = {project.id: project for project in store.projects.all()}
        lost = [f"integrity: {found}" for found in store.integrity()]
        for row in acknowledged:
            if "organization" in row and store.organization.id != row["organization"]:
                lost.append(f"organization {row['organization']}")
            if "project" in row and row["project"] not in projects:
                lost.append(f"project {row['project']}")
            if "secret_of" in row:
                kept = projects.get(row["secret_of"])
                if kept is None or store.projects.secrets(kept).get("git_credential") != row["value"]:
                    lost.append(f"secret of {row['secret_of']}")
        return lost
    finally:
        store.close()


def test_killed_at_every_sync(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is missing; ./tests/run installs it")
    acknowledged, _code, syncs = write_under_strace(tmp_path / "whole" / "data", None)
    assert acknowledged[-1] == {"closed": "yes"}
    assert syncs["fdatasync"] >= len(acknowledged) - 1, "every acknowledged write was synced"

    points = [(call, number + 1) for call, count in sorted(syncs.items()) for number in range(count)]
    lost: dict[tuple[str, int], list[str]] = {}
    acks: list[int] = []
    for point in points:
        data = tmp_path / f"{point[0]}-{point[1]}" / "data"
        acknowledged, code, _syncs = write_under_strace(data, point)
        assert code in (-9, 137), f"{point} was not reached"
        acks.append(len(acknowledged))
        if missing := missing_from(data, acknowledged):
            lost[point] = missing
        shutil.rmtree(data.parent)

    with capsys.disabled():
        print(f"\nfsync sweep: {len(points)} points {dict(syncs)}, {sum(map(len, lost.values()))} writes lost")
        print(f"acknowledged before each kill: {acks}")
    assert lost == {}
    assert max(acks) >= 2 * ROWS, "the last points are after the last writes"
