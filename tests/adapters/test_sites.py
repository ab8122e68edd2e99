"""Published sites: what is in them, what stays behind, times that stand for content, compressed copies, all or nothing."""

from __future__ import annotations

import gzip
import hashlib
import time
from pathlib import Path

import pytest

from app.adapters import sites


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "css").mkdir(parents=True)
    (root / "index.html").write_text("<p>hello</p>")
    (root / "css/site.css").write_text("a { color: red }\n" * 200)
    (root / "logo.png").write_bytes(bytes(range(256)) * 20)
    return root


def published(source: Path, target: Path) -> tuple[set[str], list[str], str]:
    lines: list[str] = []
    digest = sites.publish(source, target, lines.append)
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}, lines, digest


def test_files_and_compressed_copies_of_what_compresses(source: Path, tmp_path: Path) -> None:
    names, lines, _ = published(source, tmp_path / "out")
    assert names == {"index.html", "css/site.css", "css/site.css.gz", "logo.png"}
    assert lines == []
    assert gzip.decompress((tmp_path / "out/css/site.css.gz").read_bytes()) == (source / "css/site.css").read_bytes()
    assert (tmp_path / "out/index.html").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "name",
    [".git/config", ".gitignore", ".env", ".env.production", "a/.env", "homeport.toml", "Procfile", ".homeport/x", ".npmrc"],
)
def test_what_is_not_of_the_site_stays_behind(source: Path, tmp_path: Path, name: str) -> None:
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_text("secret")
    assert name not in published(source, tmp_path / "out")[0]


def test_well_known_files_and_namesakes_further_down_are_published(source: Path, tmp_path: Path) -> None:
    for name in (".well-known/security.txt", "docs/Procfile"):
        (source / name).parent.mkdir(parents=True)
        (source / name).write_text("x")
    assert {".well-known/security.txt", "docs/Procfile"} <= published(source, tmp_path / "out")[0]


def test_symlinks_become_files_and_never_lead_out(source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (source / ".env").write_text("secret")
    (source / "home.html").symlink_to("index.html")
    (source / "out.html").symlink_to("../outside")
    (source / "abs.html").symlink_to("/etc/passwd")
    (source / "env.html").symlink_to(".env")
    (source / "up").symlink_to("..")
    names, lines, _ = published(source, tmp_path / "out")
    assert (tmp_path / "out/home.html").read_text() == "<p>hello</p>"
    assert not (tmp_path / "out/home.html").is_symlink()
    assert not {"out.html", "abs.html", "env.html"} & names
    assert not any(name.startswith("up/") for name in names)
    assert sorted(line.split()[1] for line in lines) == ["abs.html", "env.html", "out.html", "up"]


def test_times_stand_for_content(source: Path, tmp_path: Path) -> None:
    first = published(source, tmp_path / "a")[2]
    assert published(source, tmp_path / "b")[2] == first
    before = (tmp_path / "a/index.html").stat()
    (source / "index.html").write_text("<p>hullo</p>")
    second = published(source, tmp_path / "c")[2]
    after = (tmp_path / "c/index.html").stat()
    assert before.st_size == after.st_size
    assert before.st_mtime_ns != after.st_mtime_ns
    assert second != first
    assert (tmp_path / "c/logo.png").stat().st_mtime_ns == (tmp_path / "a/logo.png").stat().st_mtime_ns


def test_times_are_in_the_past_and_use_the_nanoseconds() -> None:
    times = [sites.time_of(hashlib.sha256(str(n).encode()).digest()) for n in range(500)]
    assert all(1_000_000_000 <= time // 10**9 < 1_700_000_000 for time in times)
    assert len({time % 10**9 for time in times}) == 500


def test_a_compressed_copy_of_ones_own_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    (source / "css/site.css.gz").write_bytes(b"mine")
    published(source, tmp_path / "out")
    assert (tmp_path / "out/css/site.css.gz").read_bytes() == b"mine"


def test_a_failure_half_way_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sites, "_sync", full)
    with pytest.raises(OSError, match="No space left"):
        published(source, tmp_path / "sites/out")
    assert list((tmp_path / "sites").iterdir()) == []


def test_a_site_that_was_published_meanwhile_stays(source: Path, tmp_path: Path) -> None:
    published(source, tmp_path / "out")
    inode = (tmp_path / "out").stat().st_ino
    published(source, tmp_path / "out")
    assert (tmp_path / "out").stat().st_ino == inode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "src"]


def test_a_small_site_takes_no_time(source: Path, tmp_path: Path) -> None:
    best = min(timed(source, tmp_path / f"out{n}") for n in range(5))
    assert best < 0.030


def timed(source: Path, target: Path) -> float:
    started = time.perf_counter()
    sites.publish(source, target, lambda line: None)
    return time.perf_counter() - started
