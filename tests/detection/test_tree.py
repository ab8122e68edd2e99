"""A checkout is hostile: nothing outside it is read, and nothing in it makes reading endless."""

from __future__ import annotations

import os
from pathlib import Path

from app.detection import tree
from app.detection.tree import Tree


def _checkout(tmp_path: Path, *files: str) -> Path:
    root = tmp_path / "checkout"
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    root.mkdir(exist_ok=True)
    return root


def test_patterns(tmp_path: Path) -> None:
    root = _checkout(tmp_path, "a.py", "b.py", ".hidden.py", "x/a.py", "x/y/a.py", "node_modules/a.py", "tests/a.py", ".git/a.py")
    looked = Tree(root)
    assert looked.glob("*.py") == ("a.py", "b.py")
    assert looked.glob(".*.py") == (".hidden.py",)
    assert looked.glob("*/a.py") == ("x/a.py",)
    assert looked.glob("tests/a.py") == ("tests/a.py",)
    assert looked.glob("x/*/") == ("x/y/",)
    assert looked.glob("missing/*.py") == ()
    assert looked.names() == [".git/", ".hidden.py", "a.py", "b.py", "node_modules/", "tests/", "x/"]


def test_links_are_followed_inside_only(tmp_path: Path) -> None:
    root = _checkout(tmp_path, "real.txt", "folder/inner.txt")
    (tmp_path / "secret.txt").write_text("secret")
    os.symlink("real.txt", root / "good.txt")
    os.symlink("../secret.txt", root / "bad.txt")
    os.symlink("/etc/hostname", root / "absolute.txt")
    os.symlink(tmp_path, root / "up")
    os.symlink("folder", root / "linked")
    os.symlink("loop.txt", root / "loop.txt")
    looked = Tree(root)
    assert looked.glob("*.txt") == ("good.txt", "real.txt")
    assert looked.text("good.txt") == "real.txt"
    assert [looked.text(name) for name in ("bad.txt", "absolute.txt", "../secret.txt", "up/secret.txt", "loop.txt")] == [None] * 5
    assert looked.glob("linked/*.txt") == ()


def test_special_files_are_not_opened(tmp_path: Path) -> None:
    root = _checkout(tmp_path)
    os.mkfifo(root / "pipe.txt")
    assert Tree(root).glob("*.txt") == ()
    assert Tree(root).text("pipe.txt") is None


def test_a_large_file_is_read_in_part_and_never_parsed(tmp_path: Path) -> None:
    root = _checkout(tmp_path)
    (root / "package.json").write_text('{"a": "' + "x" * tree.READ_LIMIT + '"}')
    looked = Tree(root)
    assert len(looked.text("package.json") or "") == tree.READ_LIMIT
    assert looked.document("package.json") == {}
    assert looked.notes == ["package.json is larger than 1 MiB, so it was not read"]


def test_all_reading_has_an_end(tmp_path: Path) -> None:
    root = _checkout(tmp_path)
    for index in range(20):
        (root / f"{index}.txt").write_bytes(b"x" * tree.READ_LIMIT)
    looked = Tree(root)
    assert sum(len(looked.text(name) or "") for name in looked.glob("*.txt")) == tree.TOTAL_LIMIT


def test_many_folders_have_an_end(tmp_path: Path) -> None:
    root = _checkout(tmp_path, *(f"{index:04}/a.py" for index in range(tree.FOLDER_LIMIT + 50)))
    assert len(Tree(root).glob("*/a.py")) == tree.FOLDER_LIMIT - 1


def test_what_cannot_be_parsed_is_noted(tmp_path: Path) -> None:
    root = _checkout(tmp_path)
    (root / "package.json").write_text("{")
    (root / "deep.json").write_text("[" * 100_000)
    (root / "list.json").write_text("[]")
    (root / "pyproject.toml").write_text("\ufeff[a]\nb = 1\n")
    looked = Tree(root)
    assert [looked.document(name) for name in ("package.json", "deep.json", "list.json")] == [{}, {}, {}]
    assert looked.value("pyproject.toml", "a.b") == 1
    assert looked.value("pyproject.toml", "a.b.c") is None
    assert [note.split(":")[0] for note in looked.notes] == ["package.json cannot be parsed", "deep.json cannot be parsed"]
