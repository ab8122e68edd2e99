"""The CLI against the real API: in this process for exact output, in a pty for what a terminal gets."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path

import pytest

from app.appliance import Appliance
from tests.serving import new_box, served
from tui.cli import run

ENTRY = "import sys; from tui.cli import main; main()"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What one command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Appliance]:
    made = new_box(tmp_path / "data")
    yield made
    made.store.close()


@pytest.fixture
def server(box: Appliance, data_folder: Path) -> Iterator[Path]:
    with served(box, data_folder / "api.sock") as socket:
        yield socket


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an application."""
    made = tmp_path / "shop"
    made.mkdir()
    (made / "index.html").write_text("hello\n")
    return made


@pytest.fixture
def environ(server: Path, tmp_path: Path) -> dict[str, str]:
    """What the CLI is told about where things are."""
    return {"HOMEPORT_SERVER": str(server), "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}


@pytest.fixture
def cli(
    environ: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs one command line in `folder`, without a terminal."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)

    def command(*argv: str) -> Ran:
        capsys.readouterr()
        code = run(argv)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return command


def timeless(text: str) -> str:
    """`text` with its seconds as `T`."""
    return re.sub(r"\d+\.\d s", "T s", text)


@dataclass
class Terminal:
    """One command on a terminal of its own."""

    pid: int
    fd: int
    got: bytes = b""
    closed: bool = False
    seen: int = field(default=0)

    def wait_for(self, text: str, seconds: float = 20.0) -> None:
        """Read until `text` came after what was waited for before."""
        end = time.monotonic() + seconds
        while (at := self.got.find(text.encode(), self.seen)) < 0:
            assert time.monotonic() < end, f"no {text!r} in {self.got[self.seen :][-500:]!r}"
            assert not self.closed, f"ended without {text!r}: {self.got[-500:]!r}"
            self._read(0.1)
        self.seen = at + len(text.encode())

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def finish(self, seconds: float = 20.0) -> int:
        """Read to the end; the exit code."""
        end = time.monotonic() + seconds
        while not self.closed:
            assert time.monotonic() < end, f"does not end: {self.got[-500:]!r}"
            self._read(0.1)
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)

    def _read(self, timeout: float) -> None:
        if select.select([self.fd], [], [], timeout)[0]:
            try:
                piece = os.read(self.fd, 1 << 16)
            except OSError:
                piece = b""
            self.got += piece
            self.closed = not piece


@pytest.fixture
def terminal(environ: dict[str, str], folder: Path) -> Callable[..., Terminal]:
    """Starts a command on a real pty of 100 columns."""

    def start(*argv: str, env: Mapping[str, str] | None = None, columns: int = 100) -> Terminal:
        told = {**os.environ, **environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **(env or {})}
        pid, fd = pty.fork()
        if pid == 0:  # pragma: no cover
            os.chdir(folder)
            os.execve(sys.executable, [sys.executable, "-c", ENTRY, *argv], told)
        ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        return Terminal(pid, fd)

    return start
