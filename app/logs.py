"""Logs are files, one line each: `<data>/logs/<project>/<number>.log`, with an index of byte offsets beside it."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from app.text import clean_line

INDEX_EVERY = 256
"""Lines between two offsets of the index."""
LIMIT = 64 << 20
"""Bytes of one deployment's log; what comes after is counted, not kept."""


class LogFile:
    """Appends clean, redacted lines. Safe to use from several threads; reopened after a crash it goes on where it ended."""

    def __init__(self, path: Path, redact: Callable[[str], str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._redact = redact
        self._lock = threading.Lock()
        self._lines, self._size = _ends(path)
        self._dropped = 0
        self._full = False
        self._file = path.open("ab", buffering=0)
        self._index = index_of(path).open("ab", buffering=0)

    def write(self, line: str) -> None:
        """One line of foreign text; a text with newlines becomes several."""
        for part in line.split("\n"):
            # Before: an exact value may hold what cleaning takes out. After: escapes inside a value would hide it.
            self._append(self._redact(clean_line(self._redact(part))))

    def close(self) -> None:
        """Say what was dropped, and close."""
        with self._lock:
            if self._dropped:
                why = "the disk is full" if self._full else f"this log passed {LIMIT >> 20} MiB"
                self._put(f"… {self._dropped} more lines dropped: {why}\n".encode())
            self._file.close()
            self._index.close()

    def _append(self, line: str) -> None:
        data = line.encode("utf-8", "replace") + b"\n"
        with self._lock:
            if self._file.closed or self._size + len(data) > LIMIT:
                self._dropped += 1
                return
            if not self._put(data):
                self._full = True
                self._dropped += 1

    def _put(self, data: bytes) -> bool:
        # A log that cannot be written must not stop what it is the log of: the line is dropped whole, and counted.
        try:
            if self._lines % INDEX_EVERY == 0:
                _write(self._index, struct.pack("<Q", self._size))
            _write(self._file, data)
        except OSError:
            with suppress(OSError):
                self._index.truncate(8 * -(-self._lines // INDEX_EVERY))
                self._file.truncate(self._size)
            return False
        self._lines += 1
        self._size += len(data)
        return True


def read(path: Path, start: int, limit: int = 5000) -> list[str]:
    """Lines `start`, `start + 1`, … of a log, at most `limit`; a line that is still being written is left for the next read."""
    if not path.exists():
        return []
    offset, first = _seek(path, start)
    lines: list[str] = []
    with path.open("rb") as file:
        file.seek(offset)
        for number, raw in enumerate(file, first):
            if not raw.endswith(b"\n") or len(lines) == limit:
                break
            if number >= start:
                lines.append(raw[:-1].decode("utf-8", "replace"))
    return lines


def tail(path: Path, count: int) -> list[str]:
    """The last `count` lines."""
    if not path.exists():
        return []
    data, window = b"", 4096
    with path.open("rb") as file:
        size = file.seek(0, 2)
        while len(data) < size and data.count(b"\n") <= count:
            window *= 4
            file.seek(max(0, size - window))
            data = file.read(min(window, size))
    return [raw.decode("utf-8", "replace") for raw in data.splitlines()[-count:]]


def index_of(path: Path) -> Path:
    """Where the offsets of `path` are."""
    return path.with_suffix(path.suffix + ".idx")


def _seek(path: Path, start: int) -> tuple[int, int]:
    slot = start // INDEX_EVERY
    index = index_of(path)
    if slot and index.exists():
        with index.open("rb") as file:
            file.seek(slot * 8)
            data = file.read(8)
        if len(data) == 8:
            return struct.unpack("<Q", data)[0], slot * INDEX_EVERY
    return 0, 0


def _ends(path: Path) -> tuple[int, int]:
    # A kill can leave half a line, and an index ahead or behind: the log is cut to its last whole line, the index follows it.
    lines = whole = 0
    offsets = bytearray()
    if path.exists():
        with path.open("r+b") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    file.truncate(whole)
                    break
                if lines % INDEX_EVERY == 0:
                    offsets += struct.pack("<Q", whole)
                lines += 1
                whole += len(raw)
    index = index_of(path)
    if not index.exists() or index.read_bytes() != offsets:
        index.write_bytes(offsets)
    return lines, whole


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
