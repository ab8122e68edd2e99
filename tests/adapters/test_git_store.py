from __future__ import annotations

import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from app.adapters.git import Commit, Git
from app.errors import BadInput, NotFound, SourceRefused, Unavailable
from app.settings import Settings
from tests import repositories
from tests.repositories import git, left, refs, repository, tar


def test_an_upload_becomes_a_commit_kept_by_a_reference(reader: Git, store: Path, data: Path) -> None:
    made, top = reader.import_archive(store, tar({"a": "1", "d/b": "2"}), "Hello\x1b[2J\n\nmore", dirty=False)
    assert git(store, "ls-tree", "-r", "--name-only", top).split() == ["a", "d/b"]
    assert reader.describe(store, made) == Commit(tree=top, author="Homeport", message="Hello\n\nmore")
    assert refs(store) == [f"refs/homeport/{made}"]
    git(store, "gc", "--quiet", "--prune=now")
    assert reader.has(store, made)
    assert git(store, "fsck", "--strict") == ""
    assert left(data) == []


def test_equal_uploads_are_one_commit_and_dirty_ones_differ(reader: Git, store: Path) -> None:
    first = reader.import_archive(store, tar({"a": "1"}), "m", dirty=False)
    assert reader.import_archive(store, tar({"a": "1"}), "m", dirty=False) == first
    dirty = reader.import_archive(store, tar({"a": "1"}), "m", dirty=True)
    assert dirty[1] == first[1]
    assert dirty[0] != first[0]
    assert reader.show(store, dirty[0]) == (first[1], "m")
    assert reader.import_archive(store, tar({"a": "2"}), "m", dirty=False)[1] != first[1]


def test_uploads_at_once_do_not_disturb_each_other(reader: Git, store: Path) -> None:
    made: dict[int, str] = {}

    def upload(number: int) -> None:
        made[number] = reader.import_archive(store, tar({"a": str(number)}), "m", dirty=False)[0]

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [git(store, "show", f"{made[number]}:a") for number in range(6)] == [str(number) for number in range(6)]


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ({"name": "../evil"}, "evil"),
        ({"name": ".git/hooks/x"}, "git's own"),
        ({"name": "bad", "type": tarfile.LNKTYPE, "linkname": "good"}, "hard link"),
        ({"name": "bad", "type": tarfile.CHRTYPE}, "device"),
        ({"name": "bad", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "leads out"),
        ({"name": "good"}, "twice"),
        ({"name": "x\x1b]0;evil\x07"}, "control"),
    ],
)
def test_a_refused_upload_leaves_nothing(reader: Git, store: Path, data: Path, member: dict[str, object], why: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("good"), io.BytesIO())
        info = tarfile.TarInfo("")
        for key, value in member.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO())
    out.seek(0)
    before = set(data.parent.rglob("*"))
    with pytest.raises(SourceRefused, match=why) as raised:
        reader.import_archive(store, out, "m", dirty=False)
    assert str(raised.value).isprintable()
    assert refs(store) == []
    assert not [path for path in set(data.parent.rglob("*")) - before if not path.is_relative_to(store.parent)]
    assert left(data) == []
    assert not list((store / "objects" / "pack").iterdir())


def test_a_stream_that_breaks_leaves_nothing(reader: Git, store: Path, data: Path) -> None:
    class Breaking(io.BytesIO):
        def read(self, n: int | None = -1, /) -> bytes:
            if self.tell() > 5000:
                raise ConnectionResetError("client went away")
            return super().read(min(1000, n or 0))

    with pytest.raises(ConnectionResetError):
        reader.import_archive(store, Breaking(tar({"a": "x" * 100_000}).read()), "m", dirty=False)
    assert left(data) == []


def test_what_is_missing_is_said(reader: Git, store: Path, tmp_path: Path) -> None:
    for attempt in (
        lambda: reader.describe(store, "a" * 40),
        lambda: reader.check_out(store, "a" * 40, tmp_path / "out"),
    ):
        with pytest.raises(NotFound, match=r"no commit a{40}"):
            attempt()
    assert not (tmp_path / "out").exists()
    assert not reader.has(store, "a" * 40)


def test_tidy_forgets_what_is_not_kept(reader: Git, store: Path) -> None:
    kept, _ = reader.import_archive(store, tar({"a": "1"}), "m", dirty=False)
    gone, _ = reader.import_archive(store, tar({"a": "2"}), "m", dirty=False)
    reader.tidy(store, [kept])
    assert reader.has(store, kept)
    assert not reader.has(store, gone)
    assert len(list((store / "objects" / "pack").glob("*.pack"))) >= 1
    reader.tidy(store.with_name("missing.git"), [])


def test_sweep_removes_what_killed_runs_left(reader: Git, store: Path, data: Path) -> None:
    kept, _ = reader.import_archive(store, tar({"a": "1"}), "m", dirty=False)
    (store / "incoming-x" / "pack").mkdir(parents=True)
    (store / "shallow.lock").touch()
    (store / "refs" / "homeport" / "x.lock").touch()
    (store / "fast_import_crash_1").touch()
    reader.sweep()
    assert left(data) == []
    assert reader.has(store, kept)


def test_deploy_keys(reader: Git) -> None:
    private, public = reader.generate_key()
    assert private.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert public.startswith("ssh-ed25519 ")
    assert public.endswith(" homeport")
    assert reader.public_key(private.decode()) == public
    for wrong in ("", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----"):
        with pytest.raises(BadInput):
            reader.public_key(wrong)


def test_without_git_the_words_say_so(data: Path, origin: Path, tmp_path: Path) -> None:
    repository(origin, {"a": "1"})
    reader = Git(Settings(data=str(data), local_repositories=(str(tmp_path),)), environ={"PATH": "/nowhere"})
    with pytest.raises(Unavailable, match="git is not installed"):
        reader.pin(str(origin), "main")


def test_the_store_is_made_once_by_whoever_comes_first(reader: Git, store: Path) -> None:
    errors: list[BaseException] = []

    def prepare() -> None:
        try:
            reader.import_archive(store, tar({"a": "1"}), "m", dirty=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(path.name for path in store.parent.iterdir()) == [store.name]
    assert repositories.git(store, "rev-parse", "--is-bare-repository") == "true"


def test_a_pack_is_seen_only_when_it_is_whole(reader: Git, store: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its index goes last; and what names the commit, after that."""
    moved: list[str] = []
    rename = os.rename

    def watched(source: Path, target: Path) -> None:
        assert not store.exists() or refs(store) == []
        moved.append(Path(target).suffix)
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    reader.import_archive(store, tar({"a": "1"}), "m", dirty=False)
    assert moved[0] == ".git"
    assert ".pack" in moved
    assert moved[-1] == ".idx"
    assert len(refs(store)) == 1
