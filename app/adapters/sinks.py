"""Where the output of a program goes: all of it up to a bound, its end, or line by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.errors import TooLarge
from app.text import MAX_LINE

HEAD = 64 << 20
TAIL = 64 << 10


class Head:
    """Keeps everything, up to HEAD bytes."""

    def __init__(self, program: str) -> None:
        self.kept = bytearray()
        self._program = program

    def __call__(self, chunk: bytes) -> None:
        if len(self.kept) + len(chunk) > HEAD:
            raise TooLarge(f"{Path(self._program).name} printed more than {HEAD >> 20} MiB.")
        self.kept += chunk


class Tail:
    """Keeps the last TAIL bytes."""

    def __init__(self) -> None:
        self.kept = bytearray()

    def __call__(self, chunk: bytes) -> None:
        self.kept += chunk
        del self.kept[:-TAIL]


class Lines:
    """Cuts bytes into lines of at most MAX_LINE, and hands each over decoded."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = bytearray()
        self._dropping = False

    def __call__(self, chunk: bytes) -> None:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            self._emit()
        self._add(rest)

    def close(self) -> None:
        if self._rest:
            self._emit()

    def _add(self, part: bytes) -> None:
        if self._dropping:
            return
        self._rest += part[: MAX_LINE - len(self._rest)]
        if len(self._rest) >= MAX_LINE:
            self._on_line(bytes(self._rest).decode(errors="replace"))
            self._rest.clear()
            self._dropping = True

    def _emit(self) -> None:
        if not self._dropping:
            self._on_line(bytes(self._rest.removesuffix(b"\r")).decode(errors="replace"))
        self._rest.clear()
        self._dropping = False
