"""An independent load generator: asks one URL at a fixed rate, whatever the answers do, and counts what went wrong.

python tests/load.py --url http://site.localhost:8080/ --rate 200 --seconds 10 --seen 'version (\\S+)'

It shares no code with the product. Requests leave on schedule (open loop), every other one on a new connection and
the rest on kept ones. With `--seconds 0` it goes on until SIGTERM. One JSON object on stdout at the end;
`started` on stderr after the first answer.

Kinds of failure: refused; reset; timeout; closed (the server ended a kept connection that was to be used again);
cut (an answer that stopped half-way or was no HTTP); status (anything but 200 to 399); error (of the operating system).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import signal
import ssl
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Failed(Exception):
    """One request that did not get a good answer; `args[0]` is the kind."""


@dataclass
class Target:
    """Where to connect, and what to say there. `*.localhost` is this machine, whatever the resolver thinks."""

    host: str
    port: int
    authority: str
    path: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str) -> Target:
        parts = urlsplit(url)
        host = parts.hostname or ""
        context = None
        if parts.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        address = "127.0.0.1" if host == "localhost" or host.endswith(".localhost") else host
        port = parts.port or (443 if context else 80)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(address, port, parts.netloc, path, context)

    def request(self, kept: bool) -> bytes:
        connection = "keep-alive" if kept else "close"
        return f"GET {self.path} HTTP/1.1\r\nHost: {self.authority}\r\nConnection: {connection}\r\n\r\n".encode()


@dataclass
class Report:
    """What was seen. Times are seconds since the start, waits are milliseconds."""

    began: float = 0.0
    """The start on the machine's monotonic clock, which other processes share."""
    sent: int = 0
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    first_seen: dict[str, float] = field(default_factory=dict)
    last_seen: dict[str, float] = field(default_factory=dict)
    failures: list[tuple[float, str]] = field(default_factory=list)
    longest_wait_ms: float = 0.0
    lag_ms: float = 0.0
    """The worst lateness of the generator itself; a wait is only as exact as this is small."""

    def as_json(self) -> dict[str, Any]:
        return {
            "began": self.began,
            "sent": self.sent,
            "ok": self.ok,
            "failed": sum(self.failed.values()),
            "kinds": dict(self.failed),
            "statuses": dict(self.statuses),
            "versions": dict(self.versions),
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "failures": self.failures[:20],
            "longest_wait_ms": round(self.longest_wait_ms, 1),
            "lag_ms": round(self.lag_ms, 1),
        }


class Load:
    """Sends the requests. `seen` finds the version in a body: its first group, or the whole match."""

    def __init__(self, target: Target, rate: float, timeout: float, seen: re.Pattern[str] | None = None) -> None:
        self.target = target
        self.rate = rate
        self.timeout = timeout
        self.seen = seen
        self.report = Report()
        self._idle: deque[Connection] = deque()
        self._stop = asyncio.Event()
        self._begin = 0.0
        self._told = False

    def stop(self) -> None:
        self._stop.set()

    async def run(self, seconds: float) -> Report:
        """Exactly rate x seconds requests (or until `stop`), then wait for the last answers."""
        self._begin = self.report.began = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        total = round(self.rate * seconds) if seconds else None
        number = 0
        while (total is None or number < total) and not self._stop.is_set():
            due = self._begin + number / self.rate
            await self._sleep_until(due)
            self.report.lag_ms = max(self.report.lag_ms, (time.monotonic() - due) * 1000)
            task = asyncio.create_task(self._one(kept=number % 2 == 1))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        if tasks:
            await asyncio.wait(tasks)
        while self._idle:
            self._idle.popleft()[1].close()
        return self.report

    async def _sleep_until(self, due: float) -> None:
        delay = due - time.monotonic()
        if delay > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)

    async def _one(self, kept: bool) -> None:
        report, start = self.report, time.monotonic()
        report.sent += 1
        kind: str | None = None
        try:
            status, body = await asyncio.wait_for(self._ask(kept), self.timeout)
            report.statuses[str(status)] += 1
            kind = None if 200 <= status < 400 else "status"
            self._note_version(body)
        except TimeoutError:
            kind = "timeout"
        except Failed as failed:
            kind = str(failed.args[0])
        except ConnectionRefusedError:
            kind = "refused"
        except (ConnectionResetError, BrokenPipeError):
            kind = "reset"
        except OSError:
            kind = "error"
        now = time.monotonic()
        report.longest_wait_ms = max(report.longest_wait_ms, (now - start) * 1000)
        if kind:
            report.failed[kind] += 1
            report.failures.append((round(now - self._begin, 3), kind))
            return
        report.ok += 1
        if not self._told:
            self._told = True
            print("started", file=sys.stderr, flush=True)

    def _note_version(self, body: bytes) -> None:
        found = self.seen.search(body.decode("utf-8", "replace")) if self.seen else None
        if found:
            version = found.group(1) if found.groups() else found.group(0)
            now = round(time.monotonic() - self._begin, 4)
            self.report.versions[version] += 1
            self.report.first_seen.setdefault(version, now)
            self.report.last_seen[version] = now

    async def _ask(self, kept: bool) -> tuple[int, bytes]:
        target, reused = self.target, bool(kept and self._idle)
        if reused:
            reader, writer = self._idle.popleft()
            if reader.at_eof() or reader.exception():
                writer.close()
                raise Failed("closed")
        else:
            reader, writer = await asyncio.open_connection(target.host, target.port, ssl=target.tls)
        keep = False
        try:
            writer.write(target.request(kept))
            await writer.drain()
            status, body, keep = await read_answer(reader, reused)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Failed("closed" if reused else "reset") from error
        finally:
            if kept and keep:
                self._idle.append((reader, writer))
            else:
                writer.close()
        return status, body


async def read_answer(reader: asyncio.StreamReader, reused: bool) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection may be used again. Raises Failed: closed (a kept one) or cut."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise Failed("closed" if reused and not error.partial else "cut") from error
    except asyncio.LimitOverrunError as error:
        raise Failed("cut") from error
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    try:
        status = int(lines[0].split(" ", 2)[1])
        body, bounded = await read_body(reader, headers, status)
    except (IndexError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Failed("cut") from error
    return status, body, bounded and headers.get("connection", "").lower() != "close"


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str], status: int) -> tuple[bytes, bool]:
    """The body, and whether its end was told by the answer itself and not by the end of the connection."""
    if status in (204, 304):
        return b"", True
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"])), True
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.read(), False
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body, True


async def main() -> int:
    parser = argparse.ArgumentParser(description="Ask a URL at a fixed rate and count what went wrong.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="0: until SIGTERM")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one answer")
    parser.add_argument("--seen", help="regular expression that finds the version in a body")
    options = parser.parse_args()
    seen = re.compile(options.seen) if options.seen else None
    load = Load(Target.of(options.url), options.rate, options.timeout, seen)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, load.stop)
    report = await load.run(options.seconds)
    print(json.dumps(report.as_json()))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
