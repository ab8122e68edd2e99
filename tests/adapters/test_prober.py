from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from app.adapters import prober as module
from app.adapters.prober import Prober
from app.model import Traffic
from app.settings import Settings

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HANG_UP = b"\0"
ERROR = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Answers every request on loopback with the bytes of `answer`; empty ones are no answer at all, None closes.

    A reply that starts with HANG_UP is the last on its connection, and closes it.
    """

    def __init__(self, answer: Callable[[int], bytes | None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.heads: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    head = connection.recv(4096)
                except OSError:
                    return
                if not head:
                    return
                with self._lock:
                    self.heads.append(head)
                    number = len(self.heads)
                reply = self._answer(number)
                if reply is None:
                    return
                connection.sendall(reply.removeprefix(HANG_UP))
                if reply.startswith(HANG_UP) or (b"Connection: close" in head and reply):
                    return

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int], bytes | None]], Server]]:
    servers: list[Server] = []

    def make(answer: Callable[[int], bytes | None]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def probe(server: Server, seconds: float) -> Traffic:
    prober = Prober(Settings(data="/d", http_port=server.port))
    prober.start("env_1", "blog.localhost", "/up?x=1")
    time.sleep(seconds)
    traffic = prober.stop("env_1")
    assert traffic is not None
    return traffic


Serve = Callable[[Callable[[int], bytes | None]], Server]


def test_fifty_a_second_half_over_new_and_half_over_kept_connections(serve: Serve) -> None:
    server = serve(lambda _: OK)
    traffic = probe(server, 1.5)
    assert 70 <= traffic.probes <= 300
    assert (traffic.dropped, len(server.heads)) == (0, traffic.probes)
    closing = sum(b"Connection: close" in head for head in server.heads)
    assert abs(closing - traffic.probes / 2) <= 1
    assert server.connections == closing + module.KEPT
    assert server.heads[0].startswith(b"GET /up?x=1 HTTP/1.1\r\nHost: blog.localhost\r\n")
    assert 0 <= traffic.longest_wait_ms < 5000


def test_every_bad_answer_is_counted_and_no_good_one(serve: Serve) -> None:
    replies = {5: ERROR, 10: None, 15: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", 20: b"nonsense\r\n\r\n"}
    good = {6: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 7: b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"}
    truncated = threading.Event()

    def answer(number: int) -> bytes | None:
        if number == 16:
            truncated.set()
        return replies.get(number, good.get(number, OK))

    server = serve(answer)
    # The 15th is cut when its connection closes: it is on a new one, which the server ends after its reply.
    traffic = probe(server, 0.8)
    assert truncated.is_set()
    assert traffic.dropped == 4


def test_refused_connections_are_drops(free_port: int) -> None:
    prober = Prober(Settings(data="/d", http_port=free_port))
    prober.start("env_1", "a.localhost", "/")
    time.sleep(0.5)
    traffic = prober.stop("env_1")
    assert traffic is not None
    assert traffic.probes >= 20
    assert traffic.dropped == traffic.probes


def test_a_slow_answer_is_a_wait_and_does_not_slow_the_rate(serve: Serve) -> None:
    def answer(number: int) -> bytes:
        if number == 10:
            time.sleep(0.5)
        return OK

    traffic = probe(serve(answer), 1.0)
    assert traffic.dropped == 0
    assert 490 <= traffic.longest_wait_ms < 5000
    assert 45 <= traffic.probes <= 250


def test_all_slow_and_still_fifty_a_second(serve: Serve) -> None:
    def answer(_: int) -> bytes:
        time.sleep(0.4)
        return OK

    traffic = probe(serve(answer), 1.0)
    assert (45 <= traffic.probes <= 250, traffic.dropped) == (True, 0)


def test_what_is_never_answered_is_a_drop_and_stop_waits_for_it_no_longer_than_said(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.6)
    server = serve(lambda number: b"" if number == 3 else OK)
    begin = time.monotonic()
    traffic = probe(server, 0.3)
    assert time.monotonic() - begin < 20
    assert traffic.dropped == 1
    assert 590 <= traffic.longest_wait_ms < 10_000


def test_no_more_than_so_many_are_outstanding(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 1.2)
    monkeypatch.setattr(module, "OUTSTANDING", 10)
    traffic = probe(serve(lambda _: b""), 0.5)
    assert (traffic.probes, traffic.dropped) == (10, 10)


def test_a_busy_process_fakes_no_wait_and_loses_no_request(serve: Serve) -> None:
    def answer(_: int) -> bytes:
        time.sleep(0.06)
        return OK

    server = serve(answer)
    prober = Prober(Settings(data="/d", http_port=server.port))
    prober.start("env_1", "a.localhost", "/")
    time.sleep(0.3)
    loop = prober._loop
    assert loop is not None
    loop.call_soon_threadsafe(time.sleep, 0.6)
    time.sleep(1.0)
    traffic = prober.stop("env_1")
    assert traffic is not None
    assert 55 <= traffic.longest_wait_ms < 590
    assert traffic.probes >= 60


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(serve: Serve) -> None:
    server = serve(lambda number: HANG_UP + OK if number == 10 else OK)
    assert probe(server, 0.6).dropped == 0


def test_a_connection_that_is_said_to_end_is_not_used_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    ending = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    server = serve(lambda _: ending)
    traffic = probe(server, 0.4)
    assert traffic.dropped == 0
    assert server.connections == traffic.probes


def test_a_mark_forgets_what_was_answered(serve: Serve) -> None:
    good = threading.Event()
    server = serve(lambda _: OK if good.is_set() else ERROR)
    prober = Prober(Settings(data="/d", http_port=server.port))
    prober.start("env", "blog.localhost", "/")
    asked(server, 10)
    good.set()
    asked(server, len(server.heads) + 10)
    prober.mark("env")
    asked(server, len(server.heads) + 10)
    traffic = prober.stop("env")
    assert traffic is not None
    assert traffic.dropped == 0
    assert 10 <= traffic.probes < len(server.heads) - 10


def test_what_is_in_flight_at_the_mark_counts(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 2.0)
    server = serve(lambda _: b"")
    prober = Prober(Settings(data="/d", http_port=server.port))
    prober.start("env", "blog.localhost", "/")
    asked(server, 10)
    prober.mark("env")
    traffic = prober.stop("env")
    assert traffic is not None
    assert traffic.dropped == traffic.probes >= 10


def asked(server: Server, count: int) -> None:
    """Waits until the server was asked so often."""
    end = time.monotonic() + 20
    while len(server.heads) < count:
        assert time.monotonic() < end, f"asked {len(server.heads)} times"
        time.sleep(0.01)


def test_start_twice_is_one_run_and_stop_without_start_is_none(serve: Serve) -> None:
    server = serve(lambda _: OK)
    prober = Prober(Settings(data="/d", http_port=server.port))
    assert prober.stop("env_1") is None
    prober.start("env_1", "a.localhost", "/")
    prober.start("env_1", "a.localhost", "/")
    prober.start("env_2", "b.localhost", "/")
    time.sleep(0.5)
    first, second = prober.stop("env_1"), prober.stop("env_2")
    assert first is not None
    assert second is not None
    assert first.probes <= 30
    assert prober.stop("env_1") is None
    assert not [thread for thread in threading.enumerate() if thread.name == "prober" and not _ended(thread)]


def _ended(thread: threading.Thread) -> bool:
    thread.join(2)
    return not thread.is_alive()
