"""A real Caddy on high ports of loopback, small upstreams, and one request at a time: what tests of the edge share."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from app.adapters.caddy import Caddy
from app.adapters.disk import Disk
from app.adapters.edge import EdgeSite, render, route_folder
from app.adapters.edge_routes import FILE
from app.settings import Settings


class Reply:
    """One answer: status, header fields (lower case), body."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.body = answer.read().decode("utf-8", "replace")
        self.fields = {name.lower(): value for name, value in answer.getheaders()}


class Edge:
    """Caddy on a data folder of its own, with sites of the tests."""

    def __init__(self, data: Path, ports: list[int], caddy: str, **settings: Any) -> None:
        self.settings = Settings(
            data=str(data), http_port=ports[0], https_port=ports[1], bind="127.0.0.1", caddy=caddy, **settings
        )
        self.caddy = Caddy(self.settings)
        self.disk = Disk()
        self.sites: list[EdgeSite] = []
        self._turns = 0

    @property
    def config(self) -> dict[str, Any]:
        return render(self.settings, self.sites)

    def start(self, *names: str) -> None:
        """Run with one environment per name, `env_<first label>`, all of them plain HTTP and internal TLS."""
        self.sites = [EdgeSite(f"env_{name.split('.')[0]}", ((name, "internal"),)) for name in names]
        self.caddy.ensure_running(self.config)

    def turn(self, environment_id: str, route: str) -> None:
        """Give the environment this route, as a deploy does."""
        self._turns += 1
        folder = route_folder(self.settings, environment_id)
        self.disk.publish(folder / f"{self._turns}-test", {FILE: route}, {})
        self.disk.swap(folder / "current", f"{self._turns}-test")

    def get(self, host: str, path: str = "/", method: str = "GET", **fields: str) -> Reply:
        """Ask over a new connection; `If_None_Match="…"` becomes If-None-Match, `X__A` becomes X_A."""
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.http_port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host)
            for name, value in fields.items():
                connection.putheader(name.replace("__", "\0").replace("_", "-").replace("\0", "_"), value)
            connection.endheaders()
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def pid(self) -> int:
        """The process that serves."""
        return self.pids()[0]

    def pids(self) -> list[int]:
        """Every Caddy of this data folder."""
        return pids_with(str(self.settings.root / "caddy" / "config.json"))

    def root_of_internal_ca(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.settings.root / "caddy/storage/pki/authorities/local/root.crt"))

    def close(self) -> None:
        self.caddy.stop()
        self.caddy.close()
        assert self.pids() == []


def pids_with(text: str) -> list[int]:
    """Running programs with `text` in their arguments, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                argv, state = (entry / "cmdline").read_bytes(), (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if text.encode() in argv and state != "Z":
                found.append(int(entry.name))
    return found


def write_site(folder: Path, files: dict[str, str], mtime: int = 1_700_000_000) -> Path:
    """Files with one modification time, as a built site has them: the time is a hash of the content there."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (mtime, mtime))
    return folder


class Upstream:
    """A small application on loopback: answers its name, and what it was asked with."""

    def __init__(self, name: str, delay: float = 0.0) -> None:
        upstream = self
        self.connections = 0
        self.requests: list[dict[str, str]] = []
        self._open: list[socket.socket] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                upstream.connections += 1
                upstream._open.append(self.connection)

            def do_GET(self) -> None:
                time.sleep(delay)
                upstream.requests.append(dict(self.headers.items()))
                body = name.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """As when it is killed: what is open is reset, new connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


@contextmanager
def upstreams(*names: str, delay: float = 0.0) -> Iterator[list[Upstream]]:
    running = [Upstream(name, delay) for name in names]
    try:
        yield running
    finally:
        for upstream in running:
            upstream.close()


class Calls:
    """In place of Caddy and the prober: records what it is asked to do; `drifts` is what it finds different."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []
        self.starts = False
        self.changes = False
        self.drifts: list[str] = []

    def start(self, *arguments: Any) -> None:
        self.made.append(("start", *arguments))

    def stop(self, *arguments: Any) -> None:
        self.made.append(("stop", *arguments))

    def mark(self, *arguments: Any) -> None:
        self.made.append(("mark", *arguments))

    def ensure_running(self, config: Any) -> bool:
        self.made.append(("ensure_running", config))
        return self.starts

    def apply(self, config: Any) -> bool:
        self.made.append(("apply", config))
        return self.changes

    def drift(self, config: Any) -> list[str]:
        self.made.append(("drift", config))
        return self.drifts
