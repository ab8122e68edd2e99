"""The prober: asks an application through the edge, at a steady rate, while its traffic is turned, and counts what went wrong.

Open loop: a request is due every PERIOD whatever is outstanding, so a stall is seen by every request that it meets. Every other
request opens a connection of its own, the rest use kept ones.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections import deque

from app.adapters.answer import Answer, BadAnswer
from app.adapters.edge import address_of
from app.model import Traffic
from app.settings import Settings

PERIOD = 0.02
TIMEOUT = 10.0
"""Seconds after which a request counts as dropped, and that `stop` waits for what is outstanding."""
OUTSTANDING = 200
"""Past this many unanswered requests of one environment none is added: it is long known that nothing answers."""
KEPT = 4
"""Kept connections at the least; more are opened while these wait."""
LONGEST_RUN = 1800.0
"""Seconds after which a run that nobody stopped ends by itself."""
_LAST_DATA_RECV = 52
"""Offset in struct tcp_info of the milliseconds since data last came."""


class Prober:
    """One thread for all environments, alive only while something is probed. Thread-safe; nothing here raises."""

    def __init__(self, settings: Settings) -> None:
        self._address = (address_of(settings), settings.http_port)
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._open = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, environment_id: str, host: str, path: str) -> None:
        """Ask for `path` of `host` from now on; asked twice, the first run goes on. `host` must not redirect to https."""
        with self._lock:
            if environment_id in self._runs:
                return
            run = self._runs[environment_id] = _Run(self._address, host, path)
            self._open += 1
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(self._loop,), name="prober", daemon=True).start()
            asyncio.run_coroutine_threadsafe(run.ask(), self._loop)

    def mark(self, environment_id: str) -> None:
        """The switch is next: what was answered until now does not count, what is in flight does."""
        with self._lock:
            run = self._runs.get(environment_id)
            if run is not None and self._loop is not None:
                asyncio.run_coroutine_threadsafe(run.mark(), self._loop).result()

    def stop(self, environment_id: str) -> Traffic | None:
        """End the run once what is outstanding was answered, or after TIMEOUT, and say what it saw. None: nothing runs."""
        with self._lock:
            run = self._runs.pop(environment_id, None)
            if run is None or self._loop is None:
                return None
            ended = asyncio.run_coroutine_threadsafe(run.end(), self._loop)
        traffic = ended.result()
        with self._lock:
            self._open -= 1
            if not self._open:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._loop = None
        return traffic


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


class _Run:
    """The requests of one environment. Everything but __init__ runs in the prober's thread."""

    def __init__(self, address: tuple[str, int], host: str, path: str) -> None:
        self._address = address
        self._heads = (_request(host, path, "close"), _request(host, path, "keep-alive"))
        self._idle: deque[socket.socket] = deque()
        self._kept = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._quiet = asyncio.Event()
        self._probes = 0
        self._dropped = 0
        self._longest = 0.0

    async def ask(self) -> None:
        """Start one request every PERIOD; after a pause of this process, the ones that were due in it too."""
        started = due = time.monotonic()
        while not self._stopped and due - started < LONGEST_RUN:
            if len(self._tasks) < OUTSTANDING:
                self._probes += 1
                task = asyncio.create_task(self._probe(kept=self._probes % 2 == 0))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            due += PERIOD
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        self._quiet.set()

    async def mark(self) -> None:
        """Count from here, with what is outstanding."""
        self._probes, self._dropped, self._longest = len(self._tasks), 0, 0.0

    async def end(self) -> Traffic:
        """No new request; wait for the outstanding ones, and count as dropped what has no answer by then."""
        self._stopped = True
        await self._quiet.wait()
        unanswered: set[asyncio.Task[None]] = set()
        if self._tasks:
            _, unanswered = await asyncio.wait(set(self._tasks), timeout=TIMEOUT)
        for task in unanswered:
            self._note(dropped=True, wait=TIMEOUT)
            task.cancel()
        await asyncio.gather(*unanswered, return_exceptions=True)
        while self._idle:
            self._idle.popleft().close()
        return Traffic(probes=self._probes, dropped=self._dropped, longest_wait_ms=round(self._longest * 1000))

    async def _probe(self, kept: bool) -> None:
        connection: socket.socket | None = None
        asked = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                connection = self._take() if kept else None
                asked = time.monotonic()
                if connection is None:
                    connection = await self._connect(kept)
                reusable, answered, well = await self._exchange(connection, kept)
            self._note(dropped=not well, wait=answered - asked)
            if kept and reusable and not self._stopped:
                self._idle.append(connection)
                connection = None
        except (OSError, TimeoutError, BadAnswer):
            self._note(dropped=True, wait=time.monotonic() - asked)
        finally:
            if connection is not None:
                connection.close()
                self._kept -= kept

    async def _connect(self, kept: bool) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        self._kept += kept
        try:
            await asyncio.get_running_loop().sock_connect(connection, self._address)
        except BaseException:
            self._kept -= kept
            connection.close()
            raise
        return connection

    def _take(self) -> socket.socket | None:
        """A kept connection that is still open, the one that waited longest; None when a new one is to be kept."""
        while self._idle and self._kept >= KEPT:
            connection = self._idle.popleft()
            try:
                connection.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return connection
            except OSError:
                pass
            connection.close()
            self._kept -= 1
        return None

    async def _exchange(self, connection: socket.socket, kept: bool) -> tuple[bool, float, bool]:
        """Whether the connection can be used again, when the answer was there, and whether it was below 500."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(connection, self._heads[kept])
        answer = Answer()
        while not answer.complete:
            data = await loop.sock_recv(connection, 65536)
            answer.feed(data)
        return answer.reusable, time.monotonic() - _since_data(connection), answer.status < 500

    def _note(self, dropped: bool, wait: float) -> None:
        self._dropped += dropped
        self._longest = max(self._longest, wait)


def _request(host: str, path: str, connection: str) -> bytes:
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: homeport-prober\r\nConnection: {connection}\r\n\r\n"
    return head.encode("latin-1", "replace")


def _since_data(connection: socket.socket) -> float:
    """Seconds since the last byte came: what this process itself needed to look is no wait of the application."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV + 4)
    except OSError:
        return 0.0
    return int(struct.unpack_from("I", info, _LAST_DATA_RECV)[0]) / 1000 if len(info) > _LAST_DATA_RECV else 0.0
