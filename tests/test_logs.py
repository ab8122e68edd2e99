"""Logs on disk: each line whole, clean and without secrets; a crash, a flood or a full disk costs lines and nothing else."""

from __future__ import annotations

import os
import resource
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import app.logs as module
from app.logs import INDEX_EVERY, LogFile, index_of, read, tail
from app.redaction import MASK, redactor


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "project" / "1.log"


def fill(path: Path, lines: int, first: int = 0) -> None:
    log = LogFile(path, str)
    for number in range(first, first + lines):
        log.write(f"line {number}")
    log.close()


def expected(lines: int) -> list[str]:
    return [f"line {number}" for number in range(lines)]


def offsets(path: Path) -> list[int]:
    data = index_of(path).read_bytes()
    return list(struct.unpack(f"<{len(data) // 8}Q", data))


def right_offsets(path: Path) -> list[int]:
    found, offset = [], 0
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True)):
        if number % INDEX_EVERY == 0:
            found.append(offset)
        offset += len(raw)
    return found


def test_lines_are_readable_while_it_is_open(path: Path) -> None:
    log = LogFile(path, str)
    log.write("one")
    log.write("two\nthree")
    assert read(path, 0) == ["one", "two", "three"]
    assert read(path, 2) == ["three"]
    assert read(path, 3) == []
    log.close()


def test_lines_are_clean_and_without_secrets(path: Path) -> None:
    log = LogFile(path, redactor(["canary-value"]))
    log.write("a \x1b[31mcanary-value\x1b[0m b\x1b]52;c;AAAA\x07")
    log.write("split can\x1b[0mary-va\x1b[1mlue by colours")
    log.write("x" * 40_000 + "canary-value")
    log.close()
    first, second, third = read(path, 0)
    assert first == f"a {MASK} b"
    assert second == f"split {MASK} by colours"
    assert len(third) < 17_000
    assert b"canary" not in path.read_bytes()


@pytest.mark.parametrize("start", [0, 1, 255, 256, 257, 511, 512, 700, 999, 1000, 5000])
def test_reading_from_any_line(path: Path, start: int) -> None:
    fill(path, 1000)
    assert read(path, start) == expected(1000)[start:]
    assert read(path, start, 3) == expected(1000)[start : start + 3]


def test_reading_uses_the_index(path: Path) -> None:
    fill(path, 1000)
    assert offsets(path) == right_offsets(path)
    data = bytearray(path.read_bytes())
    data[: right_offsets(path)[2]] = b"\n" * right_offsets(path)[2]
    path.write_bytes(data)
    assert read(path, 600) == expected(1000)[600:], "what stands before the offset is not read"


def test_half_a_line_is_left_for_the_next_read(path: Path) -> None:
    fill(path, 2)
    with path.open("ab") as file:
        file.write(b"line 2, half of")
    assert read(path, 0) == expected(2)
    assert read(path, 2) == []


def test_after_a_crash_half_a_line_goes_and_the_count_goes_on(path: Path) -> None:
    fill(path, 300)
    with path.open("ab") as file:
        file.write(b"half a line")
    fill(path, 300, 300)
    assert read(path, 0) == expected(600)
    assert read(path, 590) == expected(600)[590:]
    assert offsets(path) == right_offsets(path)


@pytest.mark.parametrize("lines", [255, 256, 257, 512])
@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index.write_bytes(index.read_bytes() + struct.pack("<Q", 10**6)),
        lambda index: index.write_bytes(index.read_bytes()[:-8]),
        lambda index: index.write_bytes(index.read_bytes()[:-3]),
        lambda index: index.write_bytes(b""),
        lambda index: index.write_bytes(b"\xff" * 24),
        lambda index: index.unlink(),
    ],
    ids=["ahead", "behind", "torn", "empty", "garbage", "missing"],
)
def test_a_damaged_index_is_made_right_when_the_log_goes_on(path: Path, lines: int, damage: object) -> None:
    fill(path, lines)
    assert callable(damage)
    damage(index_of(path))
    fill(path, 600, lines)
    assert offsets(path) == right_offsets(path)
    for start in (0, 256, 300, 512, 600, 800):
        assert read(path, start) == expected(lines + 600)[start:]


@pytest.mark.parametrize("damage", [lambda index: index.write_bytes(b""), lambda index: index.unlink()], ids=["empty", "missing"])
def test_without_an_index_reading_is_slower_and_right(path: Path, damage: object) -> None:
    fill(path, 600)
    assert callable(damage)
    damage(index_of(path))
    assert read(path, 550) == expected(600)[550:]


def test_an_index_without_its_log_starts_anew(path: Path) -> None:
    fill(path, 600)
    path.unlink()
    fill(path, 300)
    assert offsets(path) == right_offsets(path)


def test_a_flood_is_counted_and_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 1 << 20)
    log = LogFile(path, str)
    for _ in range(1100):
        log.write("x" * 1023)
    assert path.stat().st_size == 1 << 20
    log.close()
    assert read(path, 1024) == ["… 76 more lines dropped: this log passed 1 MiB"]
    log.write("after the end")
    assert len(read(path, 0)) == 1025


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Files of this process cannot grow past `size`: a write there is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_for_a_while_costs_whole_lines_and_raises_nothing(path: Path) -> None:
    log = LogFile(path, str)
    log.write("before")
    with file_size_limit(20):
        for _ in range(3):
            log.write("too long for what is left")
        log.write("fits")
    log.write("after")
    log.close()
    assert read(path, 0) == ["before", "fits", "after", "… 3 more lines dropped: the disk is full"]


def test_an_index_that_cannot_grow_stays_in_step(path: Path) -> None:
    fill(path, 256)
    with file_size_limit(path.stat().st_size + 4):
        log = LogFile(path, str)
        log.write("too long")
        log.write("too long")
    for number in range(256, 600):
        log.write(f"line {number}")
    log.close()
    assert read(path, 0, 600) == expected(600)
    assert offsets(path) == right_offsets(path)


def test_many_threads_write_whole_lines(path: Path) -> None:
    log = LogFile(path, str)
    start = threading.Barrier(8)

    def write(thread: int) -> None:
        start.wait(10)
        for number in range(200):
            log.write(f"{thread} {number} " + "x" * (number % 50))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    log.close()
    lines = read(path, 0)
    assert sorted(lines) == sorted(f"{thread} {number} " + "x" * (number % 50) for thread in range(8) for number in range(200))
    assert offsets(path) == right_offsets(path)
    assert read(path, 1024) == lines[1024:]


@pytest.mark.parametrize("count", [1, 20, 100, 1000])
def test_the_tail_is_whole_lines_however_long(path: Path, count: int) -> None:
    log = LogFile(path, str)
    lines = [f"{number} " + "x" * (5000 if number % 3 else 1) for number in range(120)]
    for line in lines:
        log.write(line)
    log.close()
    assert tail(path, count) == lines[-count:]


def test_no_log_is_an_empty_one(path: Path) -> None:
    assert read(path, 0) == []
    assert tail(path, 20) == []


def test_bytes_that_are_no_text_are_shown_as_such(path: Path) -> None:
    log = LogFile(path, str)
    log.write(os.fsdecode(b"a\xff b"))
    log.close()
    assert read(path, 0) == ["a\ufffd b"]
