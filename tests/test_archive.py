from __future__ import annotations

import io
import os
import random
import tarfile
import time
from pathlib import Path

import pytest

from app import archive
from app.adapters.git import Git
from app.adapters.tar import Tar
from app.adapters.tree import Limits
from app.archive import Archive, Packed, Survey, header, pack, survey
from app.errors import BadInput, Conflict, NotFound
from app.settings import Settings
from tests.repositories import commit, git, repository


def names(root: Path) -> list[str]:
    return [os.fsdecode(name) for name in survey(root).names]


def unpacked(data: bytes) -> dict[str, bytes | str]:
    """Names to content, or to a link's target, as Python's own reader sees them."""
    found: dict[str, bytes | str] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as reader:
        for member in reader:
            file = reader.extractfile(member) if member.isreg() else None
            found[member.name] = file.read() if file else member.linkname
    return found


def test_a_work_tree_with_and_without_changes(tmp_path: Path) -> None:
    root = tmp_path / "site"
    made = repository(root, {"a": "1", "d/b": "2", ".gitignore": "*.log\nout/\n"}, message="Fix it\n\nLong.")
    (root / "x.log").touch()
    (root / "out").mkdir()
    (root / "out" / "built").touch()
    files = (b".gitignore", b"a", b"d/b")
    assert survey(root) == Survey(root=root, names=files, commit=made, branch="main", message="Fix it", dirty=False)
    (root / "new").write_text("n")
    (root / "a").unlink()
    found = survey(root)
    assert (found.dirty, found.names) == (True, (b".gitignore", b"a", b"d/b", b"new"))
    out = io.BytesIO()
    assert pack(root, out) == Packed(files=3, bytes=len("*.log\nout/\n2n"), dirty=True, message="Fix it", commit=made)
    assert unpacked(out.getvalue()) == {".gitignore": b"*.log\nout/\n", "d/b": b"2", "new": b"n"}


def test_a_folder_inside_a_work_tree(tmp_path: Path) -> None:
    root = tmp_path / "mono"
    repository(root, {"web/index.html": "x", "api/main.py": "x", ".gitignore": "/web/dist/\n"})
    (root / "web" / "dist").mkdir()
    (root / "web" / "dist" / "built.html").write_text("b")
    (root / "api" / "changed").touch()
    found = survey(root / "web")
    assert (found.names, found.dirty) == ((b"index.html",), False)
    assert names(root / "web" / "dist") == ["built.html"]


def test_a_detached_head_and_no_commit_yet(tmp_path: Path) -> None:
    root = tmp_path / "site"
    repository(root, {"a": "1"})
    git(root, "checkout", "--quiet", "--detach")
    assert survey(root).branch is None
    new = tmp_path / "new"
    new.mkdir()
    git(new, "init", "--quiet", "--initial-branch=trunk")
    (new / "a").touch()
    assert survey(new) == Survey(root=new, names=(b"a",), branch="trunk", dirty=True)


def test_submodules_and_repositories_inside_are_sent_as_files(tmp_path: Path) -> None:
    root = tmp_path / "site"
    repository(root, {"a": "1"})
    repository(root / "vendor", {"v": "1", ".gitignore": "junk\n"})
    (root / "vendor" / "junk").touch()
    assert names(root) == ["a", "vendor/.gitignore", "vendor/v"]
    commit(root, {})
    assert names(root) == ["a", "vendor/.gitignore", "vendor/v"]


def test_a_submodule_that_was_never_filled_is_empty(tmp_path: Path) -> None:
    root = tmp_path / "site"
    made = repository(root, {"a": "1"})
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{made},vendor")
    (root / "vendor").mkdir()
    assert names(root) == ["a"]


def test_outside_git_the_ignore_files_count_all_the_same(tmp_path: Path) -> None:
    for name, text in {"a": "1", "x.log": "", "d/.gitignore": "y\n", "d/y": "", "d/z": "", ".gitignore": "*.log\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    expected = (b".gitignore", b"a", b"d/.gitignore", b"d/z")
    assert survey(tmp_path) == Survey(root=tmp_path, names=expected)


def test_without_git_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "site"
    repository(root, {"a": "1"})
    monkeypatch.setenv("PATH", "/nowhere")
    assert survey(root) == Survey(root=root, names=(b"a",))


def test_dockerignore_leaves_out_but_not_what_says_how_to_build(tmp_path: Path) -> None:
    root = tmp_path / "site"
    repository(
        root,
        {
            ".dockerignore": "*\n!src\n",
            "Dockerfile": "FROM x",
            "homeport.toml": "",
            "Procfile": "",
            "README.md": "",
            "src/a": "",
        },
    )
    assert names(root) == [".dockerignore", "Dockerfile", "Procfile", "homeport.toml", "src/a"]


def test_the_dockerfile_that_homeport_toml_names_is_sent(tmp_path: Path) -> None:
    root = tmp_path / "site"
    files = {"homeport.toml": '[build]\ndockerfile = "./ops/web.Dockerfile"\n', "ops/web.Dockerfile": "", "ops/x": "", "a": ""}
    repository(root, {**files, ".dockerignore": "ops\n"})
    assert names(root) == [".dockerignore", "a", "homeport.toml", "ops/web.Dockerfile"]
    (root / "ops" / "web.Dockerfile.dockerignore").write_text("a\n")
    assert "a" not in names(root)
    assert "ops/x" in names(root)
    (root / "homeport.toml").write_text("[build\n")
    assert "a" in names(root)


def test_gits_own_folder_is_never_sent(tmp_path: Path) -> None:
    root = tmp_path / "site"
    repository(root, {"a": "1"})
    worktree = tmp_path / "worktree"
    git(root, "worktree", "add", "--quiet", str(worktree))
    assert (worktree / ".git").is_file()
    assert names(worktree) == ["a"]
    (root / ".gitignore").write_text("*\n")
    assert names(root) == ["a"]


def test_what_cannot_be_sent(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is no folder"):
        survey(tmp_path / "missing")
    with pytest.raises(BadInput, match="nothing to send"):
        survey(tmp_path)


def test_equal_folders_give_equal_bytes(tmp_path: Path) -> None:
    made: list[bytes] = []
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        order = ["b", "a", "c"] if name == "one" else ["c", "b", "a"]
        for file in order:
            (root / file).write_text(file)
            os.utime(root / file, (len(made), len(made)))
        (root / "a").chmod(0o755 if name == "one" else 0o700)
        for compress in (False, True):
            out = io.BytesIO()
            pack(root, out, compress=compress)
            made.append(out.getvalue())
    assert made[:2] == made[2:]


def test_links_modes_and_long_names_arrive_at_the_server(tmp_path: Path) -> None:
    root, data = tmp_path / "site", tmp_path / "data"
    root.mkdir()
    data.mkdir()
    long = "/".join(["n" * 60] * 4)
    (root / long).parent.mkdir(parents=True)
    (root / long).write_text("long")
    (root / "ünï").write_text("u")
    (root / "run").write_text("#!/bin/sh")
    (root / "run").chmod(0o755)
    (root / "empty").touch()
    (root / "block").write_bytes(b"x" * 512)
    os.symlink(long, root / "link")
    reader = Git(Settings(data=str(data)))
    for compress in (False, True):
        out = io.BytesIO()
        packed = pack(root, out, compress=compress)
        assert packed.files == 6
        out.seek(0)
        made, _ = reader.import_archive(data / "repos" / "p.git", out, "m", dirty=False)
        reader.check_out(data / "repos" / "p.git", made, tmp_path / "out")
        sent, came = ({str(path.relative_to(top)): path for path in top.rglob("*")} for top in (root, tmp_path / "out"))
        assert sent.keys() == came.keys()
        assert all(sent[name].read_bytes() == came[name].read_bytes() for name in sent if sent[name].is_file())
        assert os.readlink(came["link"]) == long
        assert os.access(came["run"], os.X_OK)
        assert not os.access(came["empty"], os.X_OK)


def test_sockets_pipes_and_what_vanishes_are_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("a", "gone", "folder/gone", "now-a-folder"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = survey(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "folder" / "gone").unlink()
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").touch()
    (tmp_path / "now-a-folder").unlink()
    (tmp_path / "now-a-folder").mkdir()
    packing = Archive(found)
    assert unpacked(b"".join(packing)) == {"a": b"a"}
    assert (packing.files, packing.bytes) == (1, 1)


def test_a_file_that_becomes_a_pipe_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    found, before = survey(tmp_path), os.lstat(tmp_path / "a")
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    monkeypatch.setattr(os, "lstat", lambda _: before)
    assert unpacked(b"".join(Archive(found))) == {"b": b"b"}


def test_a_file_that_grows_is_sent_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "WHOLE", 1000)
    monkeypatch.setattr(archive, "_SAMPLE", 512)
    (tmp_path / "log").write_bytes(b"x" * 5000)
    (tmp_path / "z").write_bytes(b"end")
    parts = iter(Archive(survey(tmp_path)))
    got = next(parts)
    with open(tmp_path / "log", "ab") as file:
        file.write(b"more" * 1000)
    assert unpacked(got + b"".join(parts)) == {"log": b"x" * 5000, "z": b"end"}


def test_a_file_that_shrinks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "WHOLE", 1000)
    monkeypatch.setattr(archive, "_SAMPLE", 512)
    (tmp_path / "log").write_bytes(b"x" * 5000)
    parts = iter(Archive(survey(tmp_path)))
    next(parts)
    os.truncate(tmp_path / "log", 1500)
    with pytest.raises(Conflict, match="log shrank"):
        list(parts)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret").write_text("x")
    found = survey(tmp_path)
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(BadInput, match="secret cannot be read: Permission denied"):
        list(Archive(found))


def test_gzip_only_where_it_pays(tmp_path: Path) -> None:
    root = tmp_path / "text"
    root.mkdir()
    (root / "a").write_text("the same line again\n" * 50_000)
    out = io.BytesIO()
    pack(root, out, compress=True)
    assert out.getvalue()[:2] == b"\x1f\x8b"
    assert len(out.getvalue()) < 100_000
    noise = tmp_path / "noise"
    noise.mkdir()
    (noise / "a").write_bytes(random.Random(1).randbytes(500_000))
    out = io.BytesIO()
    pack(noise, out, compress=True)
    assert out.getvalue()[:2] != b"\x1f\x8b"
    assert len(unpacked(out.getvalue())["a"]) == 500_000


@pytest.mark.parametrize("length", [1, 99, 100, 101, 255, 511, 512, 600])
def test_headers_as_others_read_them(length: int) -> None:
    name, link = "n" * length, "t" * length
    data = header(name.encode(), link=link.encode()) + b"\0" * 1024
    assert unpacked(data) == {name: link}
    limits = Limits(compressed=1 << 20, unpacked=1 << 20)
    if length <= 255:
        assert [(member.name, member.target) for member in Tar(io.BytesIO(data), limits)] == [(name.encode(), link.encode())]


def test_a_file_that_no_header_can_describe_is_refused() -> None:
    with pytest.raises(BadInput, match="8 GiB"):
        header(b"huge", size=8 << 30)


def test_a_thousand_files_are_quick(tmp_path: Path) -> None:
    root = tmp_path / "site"
    repository(root, {f"d{number % 20}/f{number}": "x" * 1000 for number in range(1000)})
    times = []
    for _ in range(5):
        started = time.perf_counter()
        pack(root, io.BytesIO())
        times.append(time.perf_counter() - started)
    assert min(times) < 0.3
