from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from app.adapters.disk import Disk
from app.errors import BadInput, OutOfSpace

disk = Disk()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_write_atomic_replaces_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    disk.write_atomic(path, b"one", mode=0o644)
    disk.write_atomic(path, b"two", mode=0o640)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert names(path.parent) == ["file"]


def test_write_atomic_syncs_the_file_before_the_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def spy_fsync(descriptor: int) -> None:
        calls.append("sync " + ("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"))
        fsync(descriptor)

    def spy_rename(source: Path, target: Path) -> None:
        calls.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "rename", spy_rename)
    disk.write_atomic(tmp_path / "file", b"x")
    assert calls == ["sync file", "rename", "sync folder"]
    calls.clear()
    disk.publish(tmp_path / "folder", {"a": "1"}, {"b": "a"})
    assert calls == ["sync file", "sync folder", "rename", "sync folder"]
    calls.clear()
    disk.swap(tmp_path / "link", "folder")
    assert calls == ["rename", "sync folder"]


def test_publish_makes_files_and_links_at_once(tmp_path: Path) -> None:
    disk.publish(tmp_path / "routes" / "1", {"route": "stopped"}, {"site": "/data/sites/x"})
    folder = tmp_path / "routes" / "1"
    assert (folder / "route").read_text() == "stopped"
    assert os.readlink(folder / "site") == "/data/sites/x"
    assert names(folder.parent) == ["1"]


def test_publish_leaves_a_folder_that_exists(tmp_path: Path) -> None:
    disk.publish(tmp_path / "1", {"route": "old"}, {})
    disk.publish(tmp_path / "1", {"route": "new"}, {})
    assert (tmp_path / "1" / "route").read_text() == "old"
    assert names(tmp_path) == ["1"]


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".", ".."])
def test_publish_refuses_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="is no file name"):
        disk.publish(tmp_path / "1", {name: "x"}, {})
    assert names(tmp_path) == []


def test_swap_and_target(tmp_path: Path) -> None:
    link = tmp_path / "current"
    assert disk.target(link) is None
    disk.swap(link, "1")
    disk.swap(link, "2")
    assert disk.target(link) == "2"
    assert names(tmp_path) == ["current"]


def test_swap_is_never_seen_half_done(tmp_path: Path) -> None:
    for name in ("1", "2"):
        disk.publish(tmp_path / name, {"route": name}, {})
    link = tmp_path / "current"
    disk.swap(link, "1")
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add((link / "route").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(200):
        disk.swap(link, "12"[turn % 2])
    done.set()
    reader.join()
    assert seen == {"1", "2"}


def test_remove_takes_trees_files_links_and_nothing(tmp_path: Path) -> None:
    disk.publish(tmp_path / "tree", {"a": "1"}, {})
    (tmp_path / "tree" / "below").mkdir()
    (tmp_path / "file").write_text("x")
    disk.publish(tmp_path / "kept", {"a": "1"}, {})
    disk.swap(tmp_path / "link", "kept")
    for name in ("tree", "file", "link", "missing"):
        disk.remove(tmp_path / name)
    assert names(tmp_path) == ["kept"]
    assert names(tmp_path / "kept") == ["a"]


def test_remove_that_is_cut_short_leaves_no_half_tree_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.publish(tmp_path / "tree", {"a": "1", "b": "2"}, {})

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        disk.remove(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert len(list(tmp_path.glob("tree.tmp-*"))) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    disk.write_atomic(tmp_path / "file", b"old")
    disk.swap(tmp_path / "link", "old")

    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpace, match="no room left on the disk to write"):
        disk.write_atomic(tmp_path / "file", b"new")
    with pytest.raises(OutOfSpace):
        disk.publish(tmp_path / "folder", {"a": "1"}, {})
    monkeypatch.setattr(os, "symlink", full)
    with pytest.raises(OutOfSpace):
        disk.swap(tmp_path / "link", "new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert disk.target(tmp_path / "link") == "old"
    assert names(tmp_path) == ["file", "link"]


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError):
        disk.write_atomic(tmp_path / "file" / "below", b"x")
