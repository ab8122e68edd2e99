from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.ignores import Dockerignore, walk
from tests.repositories import git


@pytest.mark.parametrize(
    ("text", "excluded", "kept"),
    [
        ("node_modules", ["node_modules", "node_modules/a/b"], ["a/node_modules", "node_modules2"]),
        ("/dist/\n", ["dist", "dist/a"], ["a/dist"]),
        ("*.md\n!README.md", ["a.md"], ["README.md", "d/a.md"]),
        ("**/*.log", ["a.log", "d/e/a.log"], ["a.logs"]),
        ("**/cache", ["cache", "d/cache/x"], ["cached"]),
        ("docs/**", ["docs/a", "docs/a/b"], ["docs"]),
        ("docs/*", ["docs/a", "docs/a/b"], ["docs"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt"]),
        ("# comment\n\n  \n.\nx", ["x"], ["# comment", "a"]),
        ("*\n!src\n!src/**", ["a", "b/c"], ["src", "src/a/b"]),
        ("!a\na", ["a"], []),
        ("./a/../b", ["b"], ["a"]),
        ("\\*star", ["*star"], ["xstar"]),
        ("\ufeffa", ["a"], []),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_dockerignore(text: str, excluded: list[str], kept: list[str]) -> None:
    rules = Dockerignore(text)
    assert [path for path in [*excluded, *kept] if rules.excludes(path)] == excluded


IGNORE = {
    ".gitignore": "*.log\n!keep.log\n/build/\nsecret\nd/only-here\n",
    "d/.gitignore": "!special.log\n*.tmp\n/local\n",
    "d/e/.gitignore": "*\n!stay\n",
}
FILES = [
    "a.log",
    "keep.log",
    "build/x",
    "d/build/x",
    "secret",
    "d/secret",
    "d/special.log",
    "d/x.log",
    "d/x.tmp",
    "x.tmp",
    "d/local",
    "d/e/local",
    "d/only-here",
    "d/e/stay",
    "d/e/go",
    "d/e/f/stay",
    "plain",
    "sub/deep/file",
]


def test_git_agrees_with_the_walk(tmp_path: Path) -> None:
    for name, text in [*IGNORE.items(), *((name, "x") for name in FILES)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    os.symlink("plain", tmp_path / "link")
    os.symlink("d", tmp_path / "folder-link")
    ours = sorted(os.fsdecode(name) for name in walk(os.fsencode(tmp_path)))
    git(tmp_path, "init", "--quiet")
    theirs = git(tmp_path, "ls-files", "--others", "--exclude-standard").splitlines()
    assert ours == sorted(theirs)
    assert "d/special.log" in ours
    assert "d/secret" not in ours
    assert sorted(os.fsdecode(name) for name in walk(os.fsencode(tmp_path))) == ours


def test_gits_own_folders_are_never_walked(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".git").mkdir(parents=True)
    (tmp_path / "sub" / ".git" / "config").touch()
    (tmp_path / "sub" / "a").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".git").write_text("gitdir: elsewhere")
    assert list(walk(os.fsencode(tmp_path))) == [b"sub/a"]
