"""The one Caddy of this box: started when it does not run, adopted when it does, told what to serve over a unix socket."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.adapters import caddy_start, process
from app.adapters.disk import Disk
from app.adapters.edge import address_of, canonical, differences, hash_of
from app.errors import Conflict, HomeportError, Unavailable
from app.settings import Settings

if TYPE_CHECKING:
    import httpx

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0
"""Seconds that open requests get when Caddy is told to stop."""
ATTEMPTS = 5
BODY_START = 2048
HINT = "`homeportd up` starts it; `homeport doctor` says more."
DIFFERENCES = 8
Config = dict[str, Any]


class Caddy:
    """Thread-safe. Every method raises Unavailable when Caddy does not answer on its socket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.root / "caddy"
        self._config_file = self._folder / "config.json"
        self._start_log = self._folder / "start.log"
        self._lock = threading.RLock()
        self._http: httpx.Client | None = None
        self._disk = Disk()
        self._pid: int | None = None

    def ensure_running(self, config: Config) -> bool:
        """Adopt the Caddy that answers on our socket, else start one with `config`. Returns whether it was started.

        It has a session of its own: the death of this process leaves it serving. Raises Unavailable in words: no binary that is
        new enough, a port in use and by whom, a Caddy that hangs, or what Caddy said.
        """
        with self._lock:
            if self._answers():
                return False
            self._reap()
            hanging = _listener(self._settings.caddy_socket)
            if hanging is not None:
                raise Unavailable(
                    f"Caddy (pid {hanging}) holds {self._settings.caddy_socket} and does not answer",
                    hint=f"End it (kill -9 {hanging}); it is started anew at once.",
                )
            self._start(caddy_start.find(self._settings), config)
            return True

    def apply(self, config: Config) -> bool:
        """Make `config` the one that runs, unless it is already. Returns whether it changed.

        Somebody else's change in between is seen and overwritten. Raises HomeportError with Caddy's words when it refuses: the
        former configuration serves on.
        """
        with self._lock:
            for attempt in range(ATTEMPTS):
                running, etag = self._read()
                if canonical(running) == canonical(config):
                    self._save(config)
                    return attempt > 0
                with suppress(_Interrupted):
                    if self._replace(config, etag):
                        self._save(config)
                        return True
        raise Conflict(
            "something else keeps changing Caddy's configuration", hint=f"Find what uses {self._settings.caddy_socket}."
        )

    def drift(self, config: Config) -> list[str]:
        """What differs between `config` and the one that runs, in short words; empty when nothing does."""
        try:
            running, _ = self._read()
        except Unavailable as error:
            return [error.cause, *_moved()]
        return differences(config, running)[:DIFFERENCES]

    def config_hash(self) -> str:
        """The hash of the configuration that runs (`edge.hash_of`)."""
        return hash_of(self._read()[0])

    def answer(self, host: str, path: str, timeout: float = 5.0) -> tuple[int, str]:
        """Ask for `path` of `host` by plain HTTP, as a client on this machine: the status and the start of the body.

        Raises Unavailable in words when the edge does not answer in time.
        """
        import http.client

        address = (address_of(self._settings), self._settings.http_port)
        connection = http.client.HTTPConnection(*address, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": host, "User-Agent": "homeport", "Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read(BODY_START).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"http://{host}{path} gave no answer through port {address[1]}: {reason}") from error
        finally:
            connection.close()

    def binary(self) -> str:
        """The program that would be started; when none is new enough, the first one that was found, or its mere name."""
        try:
            return caddy_start.find(self._settings)
        except Unavailable:
            return next(iter(caddy_start.candidates(self._settings)), "caddy")

    def stop(self) -> None:
        """End Caddy; open requests get STOP_TIMEOUT seconds. One that does not run is no error."""
        with self._lock:
            pid = _listener(self._settings.caddy_socket)
            if pid is None:
                return
            with suppress(Unavailable):
                self._client().post("/stop", timeout=1.0)
            if not self._ended_within(pid, STOP_TIMEOUT) and self._is_ours(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._ended_within(pid, STOP_TIMEOUT)
            self._settings.caddy_socket.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the connection up; Caddy goes on."""
        with self._lock:
            if self._http is not None:
                self._http.close()
                self._http = None

    def _start(self, program: str, config: Config) -> None:
        caddy_start.check_ports(self._settings)
        self._settings.sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._save(config)
        self._settings.caddy_socket.unlink(missing_ok=True)
        self._start_log.write_bytes(b"")
        argv = [program, "run", "--config", str(self._config_file)]
        self._pid = process.spawn(argv, log=self._start_log, cwd=self._folder, env=caddy_start.environment(self._folder))
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            code = process.reap(self._pid)
            if code is not None or time.monotonic() > deadline:
                self._give_up(code)
            time.sleep(0.01)

    def _give_up(self, code: int | None) -> None:
        said = caddy_start.said(self._folder / "caddy.log", self._start_log)
        if code is None and self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            how = f"did not answer within {START_TIMEOUT:.0f} s"
        else:
            how = f"ended with {code}"
        raise Unavailable(f"Caddy {how} while starting: {said}", hint=f"See the logs in {self._folder}.")

    def _answers(self) -> bool:
        if not self._settings.caddy_socket.exists():
            return False
        try:
            self._read(timeout=2.0)
        except Unavailable:
            return False
        return True

    def _read(self, timeout: float = 10.0) -> tuple[Any, str]:
        response = self._client().get("/config/", timeout=timeout)
        if response.status_code != 200:
            raise Unavailable(f"Caddy answered {response.status_code} about its configuration: {response.text[:500]}")
        return response.json(), response.headers.get("Etag", "")

    def _replace(self, config: Config, etag: str) -> bool:
        headers = {"Content-Type": "application/json", "If-Match": etag}
        response = self._client().post("/config/", content=canonical(config), headers=headers)
        if response.status_code == 412:
            return False
        if response.status_code != 200:
            raise HomeportError(
                f"Caddy refused the configuration: {_refusal(response.text)}",
                hint="What served before still serves. This is a fault of Homeport: please report it with these words.",
            )
        return True

    def _save(self, config: Config) -> None:
        """Where the next start begins, ours or by hand."""
        content = canonical(config)
        if not self._config_file.exists() or self._config_file.read_bytes() != content:
            self._disk.write_atomic(self._config_file, content)

    def _client(self) -> _Client:
        import httpx

        if self._http is None:
            self._http = httpx.Client(
                transport=httpx.HTTPTransport(
                    uds=str(self._settings.caddy_socket),
                    # Caddy closes its admin connections with every change.
                    limits=httpx.Limits(max_keepalive_connections=0),
                ),
                base_url="http://caddy",
                timeout=30.0,
            )
        return _Client(self._http, self._settings.caddy_socket)

    def _is_ours(self, pid: int) -> bool:
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self._config_file) in argv

    def _ended_within(self, pid: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._reap()
            if not _runs(pid):
                return True
            time.sleep(0.02)
        return False

    def _reap(self) -> None:
        if self._pid is not None and process.reap(self._pid) is not None:
            self._pid = None


class _Interrupted(Unavailable):
    """Caddy closed the connection: every change of its configuration does that to whoever else asks just then."""


class _Client:
    """httpx over the socket, its errors in our words."""

    def __init__(self, client: httpx.Client, path: Path) -> None:
        self._client = client
        self._path = path

    def get(self, url: str, timeout: float) -> httpx.Response:
        for _ in range(ATTEMPTS):
            with suppress(_Interrupted):
                return self._send("GET", url, timeout=timeout)
        return self._send("GET", url, timeout=timeout)

    def post(self, url: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        return self._send("POST", url, **more)

    def _send(self, method: str, url: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        import httpx

        if _listener(self._path) is None:
            raise Unavailable(f"Caddy does not answer on {self._path}: nobody listens", hint=HINT)
        try:
            return self._client.request(method, url, **more)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            interrupted = isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError))
            raise (_Interrupted if interrupted else Unavailable)(
                f"Caddy does not answer on {self._path}: {reason}", hint=HINT
            ) from error


def _listener(path: Path) -> int | None:
    """The process that listens on a unix socket; None when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except OSError:
            return None
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _runs(pid: int) -> bool:
    """Whether the process is there, and not only as an entry that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _refusal(text: str) -> str:
    import json

    with suppress(ValueError):
        document = json.loads(text)
        if isinstance(document, dict):
            return str(document.get("error", text))[:1000]
    return text[:1000]


def _moved() -> list[str]:
    """A configuration without our `admin` block moves the admin API to Caddy's own address."""
    try:
        socket.create_connection(("127.0.0.1", 2019), timeout=0.5).close()
    except OSError:
        return []
    return ["an admin API answers on localhost:2019: a foreign configuration may have moved it there"]
