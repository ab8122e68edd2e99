"""Repositories to deploy, made of tests/examples."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent / "examples"


class Repository:
    """A git repository to deploy, with a commit for every edit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, source: Path, to: Path) -> Repository:
        shutil.copytree(source, to)
        repository = cls(to)
        repository.git("init", "-q", "-b", "main")
        repository.commit("first")
        return repository

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, message: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def edit(self, name: str, old: str, new: str) -> str:
        """Replaces `old`, which must be there, and commits; the commit."""
        file = self.path / name
        text = file.read_text()
        assert old in text, f"{old!r} is not in {name}"
        file.write_text(text.replace(old, new))
        return self.commit(f"{old} becomes {new}")
