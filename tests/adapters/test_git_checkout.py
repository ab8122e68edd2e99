from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.adapters import git_checkout
from app.adapters.git import Git
from app.adapters.git_checkout import Blobs, Entry, Folder, Small, check_modules
from app.errors import HomeportError, SourceRefused, TooLarge
from app.settings import Settings
from tests.repositories import blob, commit, commit_tree, git, link_to, repository, tree


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    repository(tmp_path / "origin", {"a.txt": "hello\n"})
    return tmp_path / "origin"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "work" / "dep_1"


def check_out(origin: Path, made: str, into: Path, unpacked_limit: int = 1 << 30) -> tuple[str, ...]:
    """As if the commit were in the store: what fsck would have refused on the way in is there too."""
    git(origin, "update-ref", f"refs/homeport/{made}", made)
    data = into.parent.parent / "data"
    data.mkdir(exist_ok=True)
    return Git(Settings(data=str(data), unpacked_limit=unpacked_limit)).check_out(origin / ".git", made, into)


def test_files_links_and_modes(origin: Path, into: Path) -> None:
    (origin / "run.sh").write_text("#!/bin/sh\n")
    (origin / "run.sh").chmod(0o700)
    (origin / "d").mkdir()
    os.symlink("../a.txt", origin / "d" / "link")
    made = commit(origin, {"empty": "", "d/e/ünïcode name.txt": "u", "big": "x" * 1_000_000, "-dash": "d", 'q"\\': "q"})
    before = os.umask(0o077)
    try:
        assert check_out(origin, made, into) == ()
    finally:
        os.umask(before)
    found = {str(path.relative_to(into)): path for path in into.rglob("*")}
    assert sorted(found) == sorted(
        ["a.txt", "run.sh", "d", "d/link", "d/e", "d/e/ünïcode name.txt", "empty", "big", "-dash", 'q"\\']
    )
    modes = {name: stat.S_IMODE(path.lstat().st_mode) for name, path in found.items()}
    assert (modes["a.txt"], modes["run.sh"], modes["d"], modes["d/e"]) == (0o644, 0o755, 0o755, 0o755)
    assert os.readlink(into / "d" / "link") == "../a.txt"
    assert (into / "big").read_text() == "x" * 1_000_000
    assert (into / "d" / "link").read_text() == "hello\n"


def test_the_folder_is_made_anew(origin: Path, into: Path) -> None:
    into.mkdir(parents=True)
    (into / "left-over").touch()
    made = git(origin, "rev-parse", "HEAD")
    check_out(origin, made, into)
    check_out(origin, made, into)
    assert os.listdir(into) == ["a.txt"]


def test_neither_filters_nor_attributes_nor_hooks_have_a_say(origin: Path, into: Path, tmp_path: Path) -> None:
    made = commit(
        origin,
        {
            ".gitattributes": "* filter=evil diff=evil eol=crlf ident\n*.x export-ignore\n",
            "b.txt": "$Id$\nline\n",
            "c.x": "kept",
        },
    )
    for key in ("filter.evil.smudge", "filter.evil.process", "filter.evil.clean", "diff.evil.textconv", "core.fsmonitor"):
        git(origin, "config", key, f"touch {tmp_path}/canary")
    (origin / ".git" / "hooks").mkdir(exist_ok=True)
    (origin / ".git" / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\n")
    (origin / ".git" / "hooks" / "post-checkout").chmod(0o755)
    check_out(origin, made, into)
    assert not (tmp_path / "canary").exists()
    assert (into / "b.txt").read_bytes() == git(origin, "cat-file", "blob", f"{made}:b.txt").encode() + b"\n"
    assert (into / "c.x").exists()


@pytest.mark.parametrize(
    ("links", "named"),
    [
        ({"Dockerfile": "/etc/passwd"}, "'Dockerfile' .*'/etc/passwd'"),
        ({"up": "../secret"}, "'up' .*'../secret'"),
        ({"x": ".", "y": "x/x/../out"}, "'y'"),
        ({"loop": "loop"}, "circle"),
        ({"a": "b", "b": "../data"}, "leads out"),
    ],
)
def test_a_link_out_of_the_tree_is_refused_by_name(origin: Path, into: Path, links: dict[str, str], named: str) -> None:
    with pytest.raises(SourceRefused, match=named):
        check_out(origin, link_to(origin, links), into)
    assert not into.exists()


def test_a_link_and_a_file_below_it_write_nothing_outside(origin: Path, into: Path, tmp_path: Path) -> None:
    """A malformed tree: `d` is a link in it and a folder too."""
    outside = tmp_path / "outside"
    outside.mkdir()
    content = blob(origin, b"evil")
    for target in ("sub", str(outside)):
        top = tree(
            origin,
            ("120000", b"d", blob(origin, target.encode())),
            ("40000", b"d", tree(origin, ("100644", b"f", content))),
            ("40000", b"sub", tree(origin, ("100644", b"g", content))),
        )
        with pytest.raises(SourceRefused):
            check_out(origin, commit_tree(origin, top), into)
    assert list(outside.iterdir()) == []
    assert not into.exists()


@pytest.mark.parametrize(
    "names",
    [(b"..",), (b".git",), (b".GIT",), (b"git~1",), (b".",), (b"a/../../b",), (b"/abs",), (b"a\nb",), (b"f", b"f")],
)
def test_trees_that_no_honest_git_makes_are_refused(origin: Path, into: Path, names: tuple[bytes, ...]) -> None:
    content = blob(origin, b"evil")
    top = tree(origin, *[("100644", name, content) for name in names])
    with pytest.raises((SourceRefused, HomeportError)):
        check_out(origin, commit_tree(origin, top), into)
    assert not into.exists()
    assert sorted(path.name for path in into.parent.iterdir()) == []


def test_a_folder_below_a_name_that_leads_out_is_refused(origin: Path, into: Path) -> None:
    inner = tree(origin, ("100644", b"config", blob(origin, b"evil")))
    for name in (b"..", b".git"):
        with pytest.raises(SourceRefused):
            check_out(origin, commit_tree(origin, tree(origin, ("40000", name, inner))), into)


def test_a_tree_that_unfolds_without_end_is_stopped(origin: Path, into: Path) -> None:
    """10^10 files in ten small objects."""
    top = tree(origin, *[("100644", b"f%d" % number, blob(origin, b"x")) for number in range(10)])
    for _ in range(9):
        top = tree(origin, *[("40000", b"d%d" % number, top) for number in range(10)])
    with pytest.raises(TooLarge, match="more than 100000 files"):
        check_out(origin, commit_tree(origin, top), into)


def test_one_large_blob_a_thousand_times_is_stopped_before_it_is_written(
    origin: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_checkout, "_print", lambda *_: pytest.fail("written"))
    content = blob(origin, b"x" * (1 << 20))
    top = tree(origin, *[("100644", b"f%04d" % number, content) for number in range(1000)])
    with pytest.raises(TooLarge, match="larger than 64 MiB together"):
        check_out(origin, commit_tree(origin, top), into, unpacked_limit=64 << 20)


def test_a_submodule_is_refused_and_a_stray_one_is_told(origin: Path, into: Path) -> None:
    other = git(origin, "rev-parse", "HEAD")
    stray = commit_tree(origin, tree(origin, ("100644", b"f", blob(origin, b"x")), ("160000", b"vendor", other)), "stray")
    assert check_out(origin, stray, into) == ("'vendor' is a repository of its own that nothing says where to get: left empty.",)
    assert list((into / "vendor").iterdir()) == []
    modules = blob(origin, b'[submodule "v"]\n\tpath = vendor\n\turl = -u./payload\n')
    real = commit_tree(
        origin,
        tree(origin, ("100644", b".gitmodules", modules), ("160000", b"vendor", other)),
        "real",
    )
    with pytest.raises(SourceRefused, match="'vendor' is a git submodule"):
        check_out(origin, real, into)


def test_gitmodules_without_a_submodule_do_not_matter(origin: Path, into: Path) -> None:
    made = commit(origin, {".gitmodules": '[submodule "v"]\n\tpath = vendor\n\turl = x\n'})
    assert check_out(origin, made, into) == ()


def test_a_path_with_a_carriage_return_is_read_as_git_reads_it() -> None:
    entry = Entry(mode=b"160000", id=b"0" * 40, size=0, path=b"vendor")
    with pytest.raises(SourceRefused):
        check_modules([entry], b'[submodule "v"]\r\n\tpath = "vendor"\r\n')
    assert check_modules([entry], b"path = other") == (b"vendor",)


def test_pointers_of_git_lfs_are_told(origin: Path, into: Path) -> None:
    made = commit(origin, {"logo.png": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"})
    assert check_out(origin, made, into) == ("1 file only points to Git LFS, which Homeport does not fetch.",)


def test_a_pointer_that_comes_in_pieces_is_told(tmp_path: Path) -> None:
    content = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    folder = Folder(tmp_path)
    blobs = Blobs([Entry(mode=b"100644", id=b"0" * 40, size=len(content), path=b"f")], folder.file)
    for byte in b"0" * 40 + b" blob %d\n%s\n" % (len(content), content):
        blobs(bytes([byte]))
    assert folder.notes([]) == ("1 file only points to Git LFS, which Homeport does not fetch.",)
    assert (tmp_path / "f").read_bytes() == content


def test_a_commit_without_files_is_refused(origin: Path, into: Path) -> None:
    with pytest.raises(SourceRefused, match="no files"):
        check_out(origin, commit_tree(origin, tree(origin)), into)


def test_a_full_disk_leaves_nothing(origin: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    made = git(origin, "rev-parse", "HEAD")
    monkeypatch.setattr(git_checkout._File, "write", full)
    with pytest.raises(OSError, match="No space left"):
        check_out(origin, made, into)
    assert not into.exists()


def test_blobs_in_pieces_of_every_size() -> None:
    contents = [b"", b"a", b"line\n\n", b"x" * 100]
    entries = [
        Entry(mode=b"100644", id=b"%040d" % number, size=len(content), path=b"%d" % number)
        for number, content in enumerate(contents)
    ]
    printed = b"".join(
        b"%s blob %d\n%s\n" % (entry.id, entry.size, content) for entry, content in zip(entries, contents, strict=True)
    )
    for size in (1, 2, 3, 7, 50, 1000):
        kept: dict[bytes, bytes] = {}
        blobs = Blobs(entries, lambda entry, kept=kept: Small(kept, entry))  # type: ignore[misc]
        for start in range(0, len(printed), size):
            blobs(printed[start : start + size])
        blobs.done()
        assert list(kept.values()) == contents


def test_a_blob_that_is_another_or_missing_is_an_error() -> None:
    entry = Entry(mode=b"100644", id=b"0" * 40, size=1, path=b"a")
    with pytest.raises(HomeportError, match="damaged"):
        Blobs([entry], lambda entry: Small({}, entry))(b"0" * 40 + b" missing\n")
    with pytest.raises(HomeportError, match="did not print every file"):
        Blobs([entry], lambda entry: Small({}, entry)).done()
