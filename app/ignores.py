"""Which files of a working folder stay at home: .gitignore where git does not answer, and .dockerignore."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

GIT = b".git"


class Dockerignore:
    """The rules of a .dockerignore, as Docker reads them: from the top, the last that fits decides, `!` takes back."""

    def __init__(self, text: str) -> None:
        self._rules = [rule for line in text.removeprefix("\ufeff").splitlines() if (rule := _rule(line))]

    def excludes(self, path: str) -> bool:
        """Whether `path` (relative, with /) stays out of the build."""
        places = [path, *_parents(path)]
        excluded = False
        for pattern, excludes in self._rules:
            if excluded != excludes and any(pattern.fullmatch(place) for place in places):
                excluded = excludes
        return excluded


def walk(root: bytes) -> Iterator[bytes]:
    """Files and links below `root`, relative, as git would see them without its index: every .gitignore counts, .git never."""
    yield from _walked(root, b"", [])


def _walked(root: bytes, folder: bytes, scopes: list[tuple[str, GitIgnoreSpec]]) -> Iterator[bytes]:
    entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
    if any(entry.name == b".gitignore" for entry in entries):
        scopes = [*scopes, (os.fsdecode(folder), _spec(os.path.join(root, folder, b".gitignore")))]
    for entry in entries:
        path = folder + entry.name
        if entry.name == GIT:
            continue
        if entry.is_dir(follow_symlinks=False):
            if not _ignored(os.fsdecode(path) + "/", scopes):
                yield from _walked(root, path + b"/", scopes)
        elif not _ignored(os.fsdecode(path), scopes):
            yield path


def _spec(path: bytes) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return GitIgnoreSpec.from_lines(file)


def _ignored(path: str, scopes: list[tuple[str, GitIgnoreSpec]]) -> bool:
    """The innermost .gitignore that says anything of `path` decides."""
    for prefix, spec in reversed(scopes):
        verdict = spec.check_file(path.removeprefix(prefix)).include
        if verdict is not None:
            return verdict
    return False


def _rule(line: str) -> tuple[re.Pattern[str], bool] | None:
    """A pattern and whether it excludes; None for a comment or nothing."""
    if line.startswith("#"):
        return None
    text = line.strip()
    excludes = not text.startswith("!")
    text = text.removeprefix("!").strip()
    if not text:
        return None
    text = os.path.normpath(text).lstrip("/")
    return None if text in ("", ".") else (re.compile(_expression(text), re.DOTALL), excludes)


_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|\\.|.", re.DOTALL)
_MEANING: dict[str, str] = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _expression(pattern: str) -> str:
    """Docker's pattern (Go's filepath.Match, and `**`) as a regular expression."""
    return "".join(_translated(part) for part in _WILD.findall(pattern))


def _translated(part: str) -> str:
    if part in _MEANING:
        return _MEANING[part]
    if part.startswith("[") and len(part) > 2:
        inner = part[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"(?!/)[{inner}]"
    return re.escape(part[1:] if part.startswith("\\") and len(part) > 1 else part)


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
