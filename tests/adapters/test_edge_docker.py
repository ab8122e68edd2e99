from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.adapters.edge import EdgeSite
from app.adapters.edge_routes import STOPPED, docker_route, static_route
from app.adapters.prober import Prober
from app.model import StaticSite
from tests.box import wait_until
from tests.edge import Edge, Upstream, upstreams, write_site
from tests.load_process import LoadProcess

pytestmark = pytest.mark.e2e
HOST = "d.localhost"


@pytest.fixture
def edge(data_folder: Path, free_ports: Callable[[int], list[int]], caddy_binary: str) -> Iterator[Edge]:
    edge = Edge(data_folder, free_ports(2), caddy_binary)
    edge.start(HOST)
    yield edge
    edge.close()


def test_ten_switches_under_load_drop_nothing_and_change_no_configuration(edge: Edge) -> None:
    before = edge.caddy.config_hash()
    prober = Prober(edge.settings)
    with upstreams("one", "two") as both:
        edge.turn("env_d", docker_route([both[0].address]))
        prober.start("env_d", HOST, "/")
        with LoadProcess(f"http://{HOST}:{edge.settings.http_port}/", rate=150) as load:
            for turn in range(10):
                edge.turn("env_d", docker_route([both[(turn + 1) % 2].address]))
                time.sleep(0.2)
        traffic = prober.stop("env_d")
    assert traffic is not None
    assert (load.report["failed"], traffic.dropped) == (0, 0)
    assert load.report["sent"] > 200
    assert traffic.probes > 80
    assert min(len(upstream.requests) for upstream in both) > 50
    assert edge.caddy.config_hash() == before


def test_the_prober_and_the_load_see_an_upstream_that_dies(edge: Edge) -> None:
    """Nothing else is there to answer: every request that comes after the death is lost once Caddy gave up trying."""
    prober = Prober(edge.settings)
    only = Upstream("only")
    edge.turn("env_d", docker_route([only.address]))
    prober.start("env_d", HOST, "/")
    time.sleep(0.5)
    only.close()
    died = time.monotonic()
    time.sleep(0.5)
    edge.turn("env_d", STOPPED)
    stopped = time.monotonic()
    time.sleep(0.5)
    traffic = prober.stop("env_d")
    assert traffic is not None
    # Waiting for the dead one (502 after 5 s), and told that it is stopped (503): all of them, and no other.
    assert traffic.dropped == pytest.approx((stopped - died + 0.5) * 50, abs=15)
    assert 4900 <= traffic.longest_wait_ms <= 9900


def test_a_request_that_waits_for_a_dead_replica_goes_where_the_route_goes_then(edge: Edge, free_port: int) -> None:
    edge.turn("env_d", docker_route([f"127.0.0.1:{free_port}"]))
    with upstreams("new") as (new,):
        turned = threading.Timer(0.5, edge.turn, ("env_d", docker_route([new.address])))
        turned.start()
        begin = time.monotonic()
        for method in ("GET", "POST"):
            reply = edge.get(HOST, "/", method, Content_Length="0")
            assert (reply.status, reply.body) == (200, "new")
        assert 0.4 < time.monotonic() - begin < 4.9
        turned.join()


def test_one_dead_replica_of_two_is_passed_over(edge: Edge, free_port: int) -> None:
    with upstreams("alive") as (alive,):
        edge.turn("env_d", docker_route([f"127.0.0.1:{free_port}", alive.address]))
        assert {edge.get(HOST).body for _ in range(8)} == {"alive"}


def test_replicas_share_the_requests(edge: Edge) -> None:
    with upstreams("a", "b", "c") as three:
        edge.turn("env_d", docker_route([upstream.address for upstream in three]))
        for _ in range(90):
            edge.get(HOST)
        assert sum(len(upstream.requests) for upstream in three) == 90
        assert min(len(upstream.requests) for upstream in three) > 12


def test_a_dead_application_is_502_in_words(edge: Edge, free_port: int) -> None:
    edge.turn("env_d", docker_route([f"127.0.0.1:{free_port}"]))
    begin = time.monotonic()
    reply = edge.get(HOST)
    assert 4.5 < time.monotonic() - begin < 60
    assert (reply.status, reply.body) == (
        502,
        "The application does not answer. `homeport status` and `homeport logs` say why.\n",
    )


def test_every_state_has_its_page(edge: Edge) -> None:
    for route, status, words in (
        (None, 503, "Nothing is deployed here yet."),
        ("", 503, "Nothing is deployed here yet."),
        ("stopped", 503, "This application is stopped."),
        ("idle", 503, "This application has no web process that runs."),
    ):
        if route is not None:
            edge.turn("env_d", route)
        reply = edge.get(HOST, "/x")
        assert (reply.status, reply.body, reply.fields["cache-control"]) == (status, f"{words}\n", "no-store")
        assert reply.fields["retry-after"].isdigit()
    unknown = edge.get("other.localhost")
    assert (unknown.status, unknown.body) == (404, "No application answers to this name on this server.\n")
    assert "server" not in unknown.fields


def test_a_public_name_is_sent_to_https(edge: Edge) -> None:
    edge.sites.append(EdgeSite("env_p", (("p.example.invalid", "acme"),)))
    edge.caddy.apply(edge.config)
    reply = edge.get("p.example.invalid", "/a?b=1")
    assert (reply.status, reply.fields["location"]) == (
        308,
        f"https://p.example.invalid:{edge.settings.https_port}/a?b=1",
    )


def test_the_application_receives_our_headers_and_no_forged_ones(edge: Edge) -> None:
    with upstreams("one") as (one,):
        edge.turn("env_d", docker_route([one.address]))
        edge.get(
            HOST,
            X_Forwarded_For="6.6.6.6",
            X_Forwarded_Proto="https",
            X_Forwarded_Host="evil",
            X_Forwarded_Prefix="/admin",
            X__Forwarded__For="6.6.6.6",
            X_Real_Ip="6.6.6.6",
            Forwarded="for=6.6.6.6",
            Remote_User="root",
            X_Original_Url="/admin",
            Proxy="http://evil",
            Cookie="a=b",
            X_Auth_Token="mine",
        )
        got = {name.lower(): value for name, value in one.requests[-1].items()}
    assert got == {
        "host": HOST,
        "cookie": "a=b",
        "x-auth-token": "mine",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": HOST,
        "x-forwarded-proto": "http",
        "x-real-ip": "127.0.0.1",
        "via": "1.1 Caddy",
    }


def test_answers_are_compressed_when_they_are_worth_it(edge: Edge) -> None:
    with upstreams("x" * 5000) as (one,):
        edge.turn("env_d", docker_route([one.address]))
        assert edge.get(HOST, Accept_Encoding="gzip").fields["content-encoding"] == "gzip"
        assert edge.get(HOST, Accept_Encoding="gzip, zstd").fields["content-encoding"] == "zstd"
        assert "content-encoding" not in edge.get(HOST).fields
    with upstreams("short") as (short,):
        edge.turn("env_d", docker_route([short.address]))
        assert "content-encoding" not in edge.get(HOST, Accept_Encoding="gzip").fields


def test_too_large_a_head_is_refused(edge: Edge) -> None:
    assert edge.get(HOST, X_Large="x" * 100_000).status == 431


def test_no_secret_of_a_request_reaches_the_log(edge: Edge) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    edge.turn("env_d", docker_route([f"127.0.0.1:{listener.getsockname()[1]}"]))

    def cut() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: canary\r\nContent-Length: 100\r\n\r\nabc")

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(http.client.IncompleteRead):
        edge.get(HOST, "/path?token=canary", X_Api_Key="canary", Authorization="Bearer canary", Cookie="canary")
    log = edge.settings.root / "caddy" / "caddy.log"
    wait_until(lambda: '"uri":"/path?"' in log.read_text(), "the cut answer is in the log")
    assert "canary" not in log.read_text()
    thread.join()
    listener.close()


def test_from_static_to_docker_and_back_under_load(edge: Edge) -> None:
    site = write_site(edge.settings.root / "sites" / "1", {"index.html": "static"})
    with upstreams("docker") as (one,):
        edge.turn("env_d", docker_route([one.address]))
        with LoadProcess(f"http://{HOST}:{edge.settings.http_port}/", rate=150) as load:
            for _ in range(5):
                edge.turn("env_d", static_route(str(site), StaticSite()))
                time.sleep(0.15)
                edge.turn("env_d", docker_route([one.address]))
                time.sleep(0.15)
    assert (load.report["failed"], load.report["sent"] > 100) == (0, True)


def test_idle_connections_to_a_replica_are_given_up_soon(edge: Edge) -> None:
    with upstreams("one") as (one,):
        edge.turn("env_d", docker_route([one.address]))
        edge.get(HOST)
        port = int(one.address.rpartition(":")[2])
        assert _established(port) > 0
        wait_until(lambda: _established(port) == 0, "no connection to the replica is open", 30)


def _established(port: int) -> int:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def test_a_websocket_outlives_a_change_of_the_configuration_and_a_switch(edge: Edge) -> None:
    echo = _Echo()
    edge.turn("env_d", docker_route([echo.address]))
    with socket.create_connection(("127.0.0.1", edge.settings.http_port), timeout=5) as client:
        client.sendall(f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        assert _echoed(client, b"before")
        edge.turn("env_d", STOPPED)
        edge.sites.append(EdgeSite("env_n", (("n.localhost", "internal"),)))
        assert edge.caddy.apply(edge.config)
        time.sleep(0.5)
        assert _echoed(client, b"after")
    echo.close()


def _echoed(client: socket.socket, text: bytes) -> bool:
    client.sendall(text)
    got = b""
    while len(got) < len(text):
        piece = client.recv(100)
        if not piece:
            break
        got += piece
    return got == text


class _Echo:
    """Switches protocols, then echoes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := connection.recv(4096):
                connection.sendall(data)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)


def test_events_are_streamed_as_they_come(edge: Edge) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    edge.turn("env_d", docker_route([f"127.0.0.1:{listener.getsockname()[1]}"]))
    go_on = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n")
            go_on.wait(5)
            connection.sendall(b"data: 2\n\n")

    thread = threading.Thread(target=serve)
    thread.start()
    client = http.client.HTTPConnection("127.0.0.1", edge.settings.http_port, timeout=5)
    client.request("GET", "/", headers={"Host": HOST, "Accept-Encoding": "gzip, zstd"})
    answer = client.getresponse()
    assert answer.readline() == b"data: 1\n"
    go_on.set()
    assert answer.read() == b"\ndata: 2\n\n"
    client.close()
    thread.join()
    listener.close()


def test_caddy_killed_again_and_again_is_back_each_time(edge: Edge) -> None:
    """What reconcile does."""
    with upstreams("one") as (one,):
        edge.turn("env_d", docker_route([one.address]))
        for _ in range(3):
            os.kill(edge.pid(), signal.SIGKILL)
            edge.caddy.ensure_running(edge.config)
            wait_until(lambda: edge.get(HOST).body == "one", "it answers again")
