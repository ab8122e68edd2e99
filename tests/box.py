"""A real box for tests: `homeportd up` as a process of its own, and the real CLI against it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.leftovers import data_label, processes_of, remove_from_engine

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {"homeport": "tui.cli", "homeportd": "app.cli"}


def command(name: str) -> list[str]:
    """The argv of one of our commands: the installed one, else the same function of the source tree."""
    installed = Path(sys.executable).parent / name
    if installed.exists():
        return [str(installed)]
    return [sys.executable, "-c", f"import sys; from {COMMANDS[name]} import main; sys.exit(main())"]


def caddy_path() -> str | None:
    """The Caddy of the virtual environment, else of PATH."""
    beside = Path(sys.executable).parent / "caddy"
    return str(beside) if beside.exists() else shutil.which("caddy")


def wait_until(probe: Callable[[], Any], what: str, seconds: float = 30.0, every: float = 0.02) -> Any:
    """What `probe` returns once that is true. Raises AssertionError naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask_socket(path: Path, target: str, method: str = "GET", body: str | None = None) -> tuple[int, bytes]:
    """Status and body of one request over the unix socket `path`."""
    connection = UnixConnection(path)
    try:
        connection.request(method, target, body=body, headers={"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@dataclass(frozen=True)
class Deployed:
    """What `homeport deploy --json` said: its exit code, every object, and the last of them."""

    exit_code: int
    objects: tuple[dict[str, Any], ...]
    stderr: str
    seconds: float

    @property
    def last(self) -> dict[str, Any]:
        assert self.objects, f"no JSON on stdout; exit code {self.exit_code}, stderr:\n{self.stderr}"
        return self.objects[-1]


@dataclass(frozen=True)
class Place:
    """Where a box runs: argv that enters it, the address to reach it by, and more environment. By default, here."""

    prefix: tuple[str, ...] = ()
    address: str = "127.0.0.1"
    bind: str = "127.0.0.1"
    environment: dict[str, str] = field(default_factory=dict)


class Box:
    """One `homeportd up` on a data folder of its own. Nothing of it is left after `clean`."""

    def __init__(self, ports: list[int], *, caddy: str, settings: dict[str, Any], place: Place | None = None) -> None:
        self.place = place or Place()
        self.folder = Path(tempfile.mkdtemp(prefix="hp-", dir="/tmp"))
        self.data = self.folder / "data"
        self.home = self.folder / "home"
        self.home.mkdir()
        self.data.mkdir()
        self.http_port, self.https_port = ports
        self.log = self.folder / "homeportd.log"
        self.process: subprocess.Popen[bytes] | None = None
        chosen = {"bind": self.place.bind, "caddy": caddy, **settings}
        (self.data / "server.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in chosen.items()))

    @property
    def socket(self) -> Path:
        return self.data / "api.sock"

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {"HOME": str(self.home), "PATH": path, "PYTHONPATH": str(ROOT), "HOMEPORT_SERVER": str(self.socket)}
        return {**os.environ, **own, **self.place.environment, **(extra or {})}

    def start(self, *, env: dict[str, str] | None = None, ready: bool = True) -> None:
        """Starts `homeportd up`, and waits until its API answers unless `ready` is False."""
        ports = ["--http-port", str(self.http_port), "--https-port", str(self.https_port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.place.prefix, *command("homeportd"), "up", "--data", str(self.data), *ports],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(env),
                cwd=self.folder,
                start_new_session=True,
            )
        if ready:
            wait_until(self._answers, "homeportd is ready", 30)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"homeportd ended with {self.process.returncode}:\n{self.output()}")
        try:
            return ask_socket(self.socket, "/v1/health")[0] == 200
        except OSError:
            return False

    def output(self) -> str:
        """The last of what homeportd wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def kill9(self) -> None:
        """SIGKILL to homeportd alone: Caddy and the applications go on."""
        self._end(signal.SIGKILL)

    def wait_dead(self, seconds: float = 60) -> int:
        """Waits until homeportd ended by itself; the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def restart(self, *, env: dict[str, str] | None = None) -> None:
        self.stop()
        self.start(env=env)

    def cli(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        input: str = "",
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """The real `homeport` against this box."""
        return subprocess.run(
            [*self.place.prefix, *command("homeport"), *arguments],
            cwd=cwd or self.folder,
            env=self.environment(env),
            input=input,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def json(self, *arguments: str) -> Any:
        """The last JSON object that the CLI printed; the command must succeed."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.output()}"
        return json.loads(done.stdout.splitlines()[-1])

    def deploy(self, path: Path, project: str, *arguments: str, timeout: float = 600) -> Deployed:
        """`homeport deploy PATH --project P --json`."""
        begin = time.monotonic()
        done = self.cli("deploy", str(path), "--project", project, "--json", *arguments, timeout=timeout)
        return deployed(done, time.monotonic() - begin)

    def rollback(self, project: str, *arguments: str) -> Deployed:
        begin = time.monotonic()
        done = self.cli("rollback", project, *arguments, "--json")
        return deployed(done, time.monotonic() - begin)

    def get(self, host: str, path: str = "/", timeout: float = 10.0) -> tuple[int, str]:
        """Status and body of GET `path` for `host` through this box's Caddy."""
        connection = http.client.HTTPConnection(self.place.address, self.http_port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Host": f"{host}:{self.http_port}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def caddy_config(self) -> bytes:
        """What Caddy itself says its configuration is."""
        status, body = ask_socket(self.data / "caddy.sock", "/config/")
        assert status == 200, body
        return body

    def homeportd(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """`homeportd VERB … --data` of this box."""
        return subprocess.run(
            [*self.place.prefix, *command("homeportd"), *arguments, "--data", str(self.data)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def clean(self, engine: DockerClient) -> None:
        """Ends everything of this box: homeportd, Caddy, containers, networks, images, folders."""
        if self.process is not None:
            self._end(signal.SIGTERM)
        for pid in processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        remove_from_engine(engine, data_label(self.data))
        shutil.rmtree(self.folder, ignore_errors=True)


def deployed(done: subprocess.CompletedProcess[str], seconds: float) -> Deployed:
    objects = tuple(json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return Deployed(done.returncode, objects, done.stderr, seconds)
