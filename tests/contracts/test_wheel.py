"""`pip install .` gives every command, and the data that the commands read."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built without the network."""
    pytest.importorskip("hatchling", reason="hatchling is missing; ./tests/run installs it")
    folder = tmp_path_factory.mktemp("wheel")
    argv = [
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    done = subprocess.run([sys.executable, "-m", *argv], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("homeport-*.whl"))


def test_it_carries_the_commands(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        points = archive.read(entry).decode()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["scripts"]) == {"homeport", "homeportd"}
    for name, target in project["scripts"].items():
        assert f"{name} = {target}" in points
        assert (ROOT / (target.split(":")[0].replace(".", "/") + ".py")).exists(), target


def test_it_carries_all_of_the_source_and_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    folders = ("app", "tui", "agent", "bundles")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    expected = {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    assert expected - names == set()
    assert [name for name in names if name.startswith("tests/")] == []
