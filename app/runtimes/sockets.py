"""Who listens and who is connected inside a container, read from the kernel's tables of its network namespace."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

ESTABLISHED = 0x01
LISTEN = 0x0A
ENGINE_DNS = "127.0.0.11"
"""The engine's own resolver listens inside every container, on a port of its choice."""


class Socket(msgspec.Struct, frozen=True):
    """One TCP socket: (address, port) of both ends, and its state as the kernel numbers it."""

    local: tuple[str, int]
    remote: tuple[str, int]
    state: int


def listening(pid: int) -> tuple[tuple[str, int], ...] | None:
    """The (address, port) pairs accepted on in the namespace of `pid`; None when it cannot be seen."""
    sockets = _sockets_of(f"/proc/{pid}/net")
    if sockets is None:
        return None
    found = {entry.local for entry in sockets if entry.state == LISTEN and entry.local[0] != ENGINE_DNS}
    return tuple(sorted(found))


def connections(pid: int, address: str, port: int) -> int:
    """How many connections to `address`:`port` are open: seen from inside, or from this machine's own end when that is hidden."""
    end = (address, port)
    inside = _sockets_of(f"/proc/{pid}/net")
    if inside is not None:
        return sum(entry.state == ESTABLISHED and entry.local == end for entry in inside)
    return sum(entry.state == ESTABLISHED and entry.remote == end for entry in _sockets_of("/proc/self/net") or ())


def parse(table: str) -> Iterator[Socket]:
    """The rows of /proc/net/tcp or tcp6."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3:
            yield Socket(_end(fields[1]), _end(fields[2]), int(fields[3], 16))


def _sockets_of(folder: str) -> list[Socket] | None:
    try:
        tables = [Path(folder, name).read_text() for name in ("tcp", "tcp6") if Path(folder, name).exists()]
    except OSError:
        return None
    return [entry for table in tables for entry in parse(table)] if tables else None


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    words = struct.unpack(f"<{len(raw) // 4}I", raw)
    packed = struct.pack(f">{len(words)}I", *words)
    if len(packed) == 4:
        return socket.inet_ntoa(packed), int(port, 16)
    six = ipaddress.IPv6Address(packed)
    return str(six.ipv4_mapped or six), int(port, 16)
