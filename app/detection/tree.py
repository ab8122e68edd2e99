"""A checkout, read-only and hostile: links never lead out of it, special files stay closed, sizes are bounded."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import stat
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

READ_LIMIT = 1 << 20
"""Bytes of a file that detection will look at; of a larger file only its beginning."""
TOTAL_LIMIT = 16 << 20
FOLDER_LIMIT = 400
"""Folders that one detection lists at most."""
SKIPPED = frozenset(
    {
        "node_modules", "venv", "env", "vendor", "__pycache__", "bower_components", "site-packages", "third_party",
        "test", "tests", "__tests__", "e2e", "docs", "doc", "examples", "example", "samples", "fixtures", "migrations",
        "benchmarks",
    }
)  # fmt: skip
"""Folders that a `*` does not stand for: they are not the application. Naming one finds it all the same."""


class Tree:
    """The files below `root`, looked at lazily and once. Paths are relative, with `/`."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self.notes: list[str] = []
        """What could not be read, in words; each once."""
        self._listings: dict[str, tuple[list[str], list[str]]] = {}
        self._texts: dict[str, str | None] = {}
        self._documents: dict[str, dict[str, Any]] = {}
        self._globs: dict[str, tuple[str, ...]] = {}
        self._budget = TOTAL_LIMIT
        self._cut: set[str] = set()

    def glob(self, pattern: str) -> tuple[str, ...]:
        """The files that `pattern` names, sorted. `*` does not cross `/`; a pattern that ends in `/` names folders."""
        found = self._globs.get(pattern)
        if found is None:
            found = self._globs[pattern] = tuple(self._walk("", pattern.split("/")))
        return found

    def names(self, folder: str = "") -> list[str]:
        """What stands in `folder`, folders with a `/` at their end, sorted."""
        folders, files = self._listing(folder)
        return sorted([*(f"{name}/" for name in folders), *files])

    def text(self, path: str) -> str | None:
        """The file's text (its first READ_LIMIT bytes), without a byte order mark; None when it is no plain file inside."""
        if path not in self._texts:
            self._texts[path] = self._read(path)
        return self._texts[path]

    def document(self, path: str) -> dict[str, Any]:
        """The file as JSON (by its name) or TOML; empty when it is not there or cannot be parsed, and then noted."""
        if path not in self._documents:
            self._documents[path] = self._parse(path)
        return self._documents[path]

    def value(self, path: str, key: str) -> Any:  # noqa: ANN401
        """What stands at the dotted `key` of a JSON or TOML file, or None."""
        node: Any = self.document(path)
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return node

    def _walk(self, folder: str, parts: list[str]) -> list[str]:
        part, rest = parts[0], parts[1:]
        folders, files = self._listing(folder)
        prefix = f"{folder}/" if folder else ""
        if not rest:
            return [prefix + name for name in _matching(part, files)]
        if rest == [""]:
            return [f"{prefix}{name}/" for name in _matching(part, folders, SKIPPED)]
        return [path for name in _matching(part, folders, SKIPPED) for path in self._walk(prefix + name, rest)]

    def _listing(self, folder: str) -> tuple[list[str], list[str]]:
        found = self._listings.get(folder)
        if found is None:
            found = self._listings[folder] = self._scan(folder) if len(self._listings) < FOLDER_LIMIT else ([], [])
        return found

    def _scan(self, folder: str) -> tuple[list[str], list[str]]:
        folders, files = [], []
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif entry.is_file(follow_symlinks=False) or (entry.is_symlink() and self._inside(entry.path)):
                        files.append(entry.name)
        except OSError:
            return [], []
        return sorted(folders), sorted(files)

    def _inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real.startswith(self.root + os.sep) and os.path.isfile(real)

    def _read(self, path: str) -> str | None:
        real = os.path.realpath(os.path.join(self.root, path))
        if not real.startswith(self.root + os.sep):
            return None
        try:
            handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                return None
            if facts.st_size > READ_LIMIT:
                self._cut.add(path)
            content = file.read(min(READ_LIMIT, self._budget))
        self._budget -= len(content)
        return content.decode("utf-8-sig", errors="replace")

    def _parse(self, path: str) -> dict[str, Any]:
        text = self.text(path)
        if text is None:
            return {}
        if path in self._cut:
            self.notes.append(f"{path} is larger than {READ_LIMIT >> 20} MiB, so it was not read")
            return {}
        try:
            parsed = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            self.notes.append(f"{path} cannot be parsed: {error}")
            return {}
        return parsed if isinstance(parsed, dict) else {}


def _matching(pattern: str, names: list[str], skipped: frozenset[str] = frozenset()) -> list[str]:
    if not any(sign in pattern for sign in "*?["):
        return [pattern] if pattern in names else []
    found, hidden = _compiled(pattern), pattern.startswith(".")
    return [name for name in names if found.match(name) and name not in skipped and (hidden or not name.startswith("."))]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))
