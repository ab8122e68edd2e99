"""A repository that may be read, its reader, and the store of one project: what tests of git share."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.git import Git
from app.settings import Settings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return tmp_path / "allowed" / "site"


@pytest.fixture
def reader(tmp_path: Path, data: Path) -> Git:
    (tmp_path / "allowed").mkdir()
    return Git(Settings(data=str(data), local_repositories=(str(tmp_path / "allowed"),)))


@pytest.fixture
def store(data: Path) -> Path:
    return data / "repos" / "prj_1.git"
