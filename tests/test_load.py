"""The load generator's figures are exact: against a server that fails in ways and numbers known beforehand."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.load import Load, Report, Target

Answer = Callable[[int], bytes | None]


def page(text: str, status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


class Server:
    """Answers the n-th request on a new connection with new(n), and the n-th on a kept one with kept(n), from 1.

    b"reset" resets the connection, b"hang" never answers, b"close" answers well and then ends the connection unasked.
    """

    def __init__(self, new: Answer, kept: Answer) -> None:
        self.answers = {b"close": new, b"keep-alive": kept}
        self.counts = {b"close": 0, b"keep-alive": 0}
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        kind = b"keep-alive" if b"Connection: keep-alive" in head else b"close"
        self.counts[kind] += 1
        answer = self.answers[kind](self.counts[kind])
        if answer == b"hang":
            await asyncio.sleep(30)
        if answer == b"reset":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        writer.write(page("version 1") if answer in (None, b"close") else answer or b"")
        await writer.drain()
        return kind == b"keep-alive" and answer != b"close"


def measure(new: dict[int, bytes], kept: dict[int, bytes], requests: int = 60) -> tuple[Report, Server]:
    async def run() -> tuple[Report, Server]:
        handler = Server(new.get, kept.get)
        server = await asyncio.start_server(handler.handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        load = Load(Target.of(f"http://app.localhost:{port}/"), 100, 0.5, re.compile(r"version (\S+)"))
        report = await load.run(requests / 100)
        server.close()
        return report, handler

    return asyncio.run(run())


def test_a_server_that_answers_well() -> None:
    report, server = measure({}, {})

    assert (report.sent, report.ok, dict(report.failed)) == (60, 60, {})
    assert server.counts == {b"close": 30, b"keep-alive": 30}
    assert server.connections <= 33, "kept connections are used again"
    assert dict(report.versions) == {"1": 60}


def test_every_kind_of_failure_is_counted_once() -> None:
    new = {
        3: b"reset",
        5: page("sorry", 502),
        6: page("gone", 404),
        8: b"hang",
        10: b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nhalf",
    }
    kept = {4: b"close", 9: page("sorry", 503), 12: b"reset"}

    report, _server = measure(new, kept)

    # The reset of a connection that was kept before is the end of a kept connection, and so is the one ended unasked.
    assert dict(report.failed) == {"reset": 1, "status": 3, "timeout": 1, "cut": 1, "closed": 2}
    assert (report.sent, report.ok) == (60, 52)
    assert dict(report.statuses) == {"200": 52, "404": 1, "502": 1, "503": 1}
    assert report.longest_wait_ms >= 500
    assert len(report.failures) == 8


def test_when_each_version_was_seen_first() -> None:
    later = {number: page("version 2") for number in range(16, 31)}

    report, _server = measure(later, later)

    assert dict(report.versions) == {"1": 30, "2": 30}
    assert 0.25 <= report.first_seen["2"] <= 0.5
    assert report.last_seen["1"] <= report.first_seen["2"] + 0.05


def test_a_port_that_nobody_listens_on(free_port: int) -> None:
    load = Load(Target.of(f"http://127.0.0.1:{free_port}/"), 100, 0.5)

    report = asyncio.run(load.run(0.1))

    assert (report.ok, dict(report.failed)) == (0, {"refused": 10})


def test_a_chunked_answer_and_one_without_a_length() -> None:
    chunked = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nvers\r\n5\r\nion 7\r\n0\r\n\r\n"
    endless = b"HTTP/1.1 200 x\r\n\r\nversion 8"

    report, _server = measure({1: chunked, 2: endless}, {1: chunked})

    assert dict(report.versions) == {"7": 2, "8": 1, "1": 57}
    assert report.ok == 60


def test_as_a_command(free_port: int) -> None:
    script = Path(__file__).parent / "load.py"
    argv = [sys.executable, str(script), "--url", f"http://127.0.0.1:{free_port}/", "--rate", "50", "--seconds", "0.2"]

    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)

    assert json.loads(done.stdout)["kinds"] == {"refused": 10}
    assert done.stderr == ""
