"""Reads an uploaded tar (plain or gzip) as a stream, and trusts nothing in it: every size is bounded before it is read.

Files, folders and symbolic links come out; everything else a tar can hold is refused by name. Nothing is written.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

from app.adapters.tree import Limits, check_path, refuse, shown
from app.errors import SourceRefused, TooLarge

BLOCK = 512
MAX_EXTENDED = 64 << 10
"""Bytes of a header that only describes the next one (pax, GNU long name)."""
MAX_NAMES = 32 << 20
"""Bytes of all names together, their folders included."""
_CHUNK = 1 << 18
_GZIP = b"\x1f\x8b"
_DAMAGED = "The archive is no tar, or was damaged on the way."
_CUT_OFF = "The archive ends too early: it was cut off on the way."
_AGAIN = "Send it again."
_REFUSED = {
    b"1": "is a hard link",
    b"3": "is a character device",
    b"4": "is a block device",
    b"6": "is a named pipe",
    b"S": "is a sparse file",
}


class Readable(Protocol):
    """What an upload comes from: `read` returns at most n bytes, none at the end."""

    def read(self, n: int, /) -> bytes:
        """The next bytes."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `size` is of a file's bytes, `target` of a link."""

    name: bytes
    kind: Literal["file", "folder", "link"]
    size: int = 0
    executable: bool = False
    target: bytes = b""


class Tar:
    """One pass over the members of an archive. After a file, `data()` hands out its bytes; what is left is skipped."""

    def __init__(self, stream: Readable, limits: Limits) -> None:
        self._limits = limits
        self._input = _Input(stream, limits)
        self._left = 0
        self._padding = 0
        self._kinds: dict[bytes, str] = {}
        self._headers = 0
        self._names = 0

    def __iter__(self) -> Iterator[Member]:
        """The members, each checked. Raises SourceRefused naming a bad one, TooLarge past a limit."""
        extended: dict[bytes, bytes] = {}
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind in (b"x", b"g", b"L", b"K"):
                extended |= self._extended(kind, _number(header[124:136]))
                continue
            member = self._member(header, extended)
            extended = {}
            if member.name:
                self._place(member)
                yield member
        self._input.drain()

    def data(self) -> Iterator[bytes]:
        """The bytes of the file that came last."""
        while self._left:
            chunk = self._input.exactly(min(self._left, _CHUNK))
            self._left -= len(chunk)
            yield chunk

    def _header(self) -> bytes | None:
        """The next header; None at the end mark, without which an archive was cut off."""
        for _ in self.data():
            pass
        self._input.exactly(self._padding)
        self._padding = 0
        block = self._input.exactly(BLOCK)
        if not block.strip(b"\0"):
            return None
        self._headers += 1
        if self._headers > self._limits.entries:
            raise TooLarge(f"The archive has more than {self._limits.entries} entries.")
        if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            raise SourceRefused(_DAMAGED, hint=_AGAIN)
        return block

    def _extended(self, kind: bytes, size: int) -> dict[bytes, bytes]:
        if size > MAX_EXTENDED:
            raise SourceRefused(f"The archive has a header of {size} bytes; at most {MAX_EXTENDED} are read.")
        body = self._input.exactly(size)
        self._input.exactly(-size % BLOCK)
        if kind in (b"L", b"K"):
            return {b"path" if kind == b"L" else b"linkpath": body.split(b"\0")[0]}
        records = _records(body)
        return records if kind == b"x" else {}

    def _member(self, header: bytes, extended: dict[bytes, bytes]) -> Member:
        kind = header[156:157]
        name = extended.get(b"path") or _name(header)
        size = _decimal(extended[b"size"]) if b"size" in extended else _number(header[124:136])
        if any(key.startswith(b"GNU.sparse.") for key in extended):
            refuse(name, _REFUSED[b"S"])
        self._left, self._padding = size, -size % BLOCK
        if size > self._limits.unpacked:
            raise TooLarge(f"{shown(name)} is larger than {_mib(self._limits.unpacked)}.")
        if kind == b"2":
            target = extended.get(b"linkpath") or header[157:257].split(b"\0")[0]
            return Member(name=_inside(name), kind="link", target=target)
        if kind == b"5" or (kind in (b"0", b"\0") and name.endswith(b"/") and not size):
            return Member(name=_inside(name), kind="folder")
        if kind in (b"0", b"\0"):
            executable = bool(_number(header[100:108]) & 0o100)
            return Member(name=_inside(name), kind="file", size=size, executable=executable)
        refuse(name, _REFUSED.get(kind, "is an entry of an unknown type"))

    def _place(self, member: Member) -> None:
        """Refuse a name that was there before, and one below a file or a link."""
        parent = member.name.rpartition(b"/")[0]
        while parent:
            if self._kind(parent, "folder") != "folder":
                refuse(member.name, f"lies below {shown(parent)}, which is no folder")
            parent = parent.rpartition(b"/")[0]
        known = member.name in self._kinds
        if known and (member.kind, self._kinds[member.name]) != ("folder", "folder"):
            refuse(member.name, "is in the archive twice")
        self._kind(member.name, member.kind)

    def _kind(self, name: bytes, kind: str) -> str:
        if name not in self._kinds:
            self._names += len(name)
            if self._names > MAX_NAMES or len(self._kinds) >= self._limits.entries:
                raise TooLarge(f"The archive has more than {self._limits.entries} names, or too long ones.")
            self._kinds[name] = kind
        return self._kinds[name]


class _Input:
    """The bytes of the tar, unpacked if need be, counted against the limits as they come."""

    def __init__(self, stream: Readable, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._received = 0
        self._unpacked = 0
        self._buffer = bytearray()
        self._gzip: zlib._Decompress | None = None
        self._packed = b""
        first = self._receive(len(_GZIP))
        first += self._receive(len(_GZIP) - len(first)) if first else b""
        if first == _GZIP:
            self._gzip, self._packed = zlib.decompressobj(31), first
        else:
            self._take(first)

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes. Raises SourceRefused when there are fewer."""
        while len(self._buffer) < size:
            if not self._more():
                raise SourceRefused(_CUT_OFF, hint=_AGAIN)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def drain(self) -> None:
        """Read what follows the end mark, so that the sender can finish; it means nothing."""
        self._buffer.clear()
        while self._more():
            self._buffer.clear()

    def _more(self) -> bool:
        """One more chunk into the buffer; False at the end of the stream."""
        if self._gzip is None:
            return self._take(self._receive(_CHUNK))
        while True:
            if not self._packed and not self._gzip.eof:
                self._packed = self._receive(_CHUNK)
                if not self._packed:
                    return False
            if self._gzip.eof and not self._next_member():
                return False
            if self._take(self._inflate()):
                return True

    def _inflate(self) -> bytes:
        assert self._gzip is not None
        try:
            chunk = self._gzip.decompress(self._packed, _CHUNK)
        except zlib.error as error:
            raise SourceRefused(_DAMAGED, hint=_AGAIN) from error
        self._packed = self._gzip.unconsumed_tail
        return chunk

    def _next_member(self) -> bool:
        """gzip files may be written one after another; False when none follows."""
        assert self._gzip is not None
        self._packed = self._gzip.unused_data or self._receive(_CHUNK)
        self._packed = self._packed.lstrip(b"\0")
        if self._packed:
            self._gzip = zlib.decompressobj(31)
        return bool(self._packed)

    def _receive(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._received += len(chunk)
        if self._received > self._limits.compressed:
            raise TooLarge(f"The upload is larger than {_mib(self._limits.compressed)}.")
        return chunk

    def _take(self, chunk: bytes) -> bool:
        self._unpacked += len(chunk)
        if self._unpacked > self._limits.unpacked:
            raise TooLarge(f"The archive unpacks to more than {_mib(self._limits.unpacked)}.")
        if self._unpacked > max(self._limits.ratio_from, self._received * self._limits.ratio):
            raise TooLarge(f"The archive unpacks to more than {self._limits.ratio} times its size.")
        self._buffer += chunk
        return bool(chunk)


def _records(body: bytes) -> dict[bytes, bytes]:
    """The `length key=value` lines of a pax header."""
    records: dict[bytes, bytes] = {}
    while body:
        length, space, _ = body.partition(b" ")
        size = _decimal(length)
        record = body[len(length) + 1 : size]
        key, equals, value = record.removesuffix(b"\n").partition(b"=")
        if not (space and equals and record.endswith(b"\n")) or size > len(body):
            raise SourceRefused(_DAMAGED, hint=_AGAIN)
        records[key] = value
        body = body[size:]
    return records


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _inside(name: bytes) -> bytes:
    """The name without tar's `./` and last slash; empty for the folder itself. Raises SourceRefused."""
    bare = name.removeprefix(b"./").removesuffix(b"/")
    if bare in (b"", b".") and name in (b".", b"./"):
        return b""
    return check_path(bare)


def _number(field: bytes) -> int:
    """An octal field, or GNU's binary one for what octal cannot hold. Raises SourceRefused for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0") or b"0"
    if not text.isdigit() or b"8" in text or b"9" in text:
        raise SourceRefused(_DAMAGED, hint=_AGAIN)
    return int(text, 8)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 15:
        raise SourceRefused(_DAMAGED, hint=_AGAIN)
    return int(text)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.4g} MiB"
