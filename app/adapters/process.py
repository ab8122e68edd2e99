"""Runs other programs: the only place that does. Argument lists, explicit environments, bounded memory, group kills."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from app.adapters import sinks
from app.errors import BadInput, Canceled, HomeportError, OutOfSpace, TimedOut, Unavailable
from app.text import clean_line

GRACE = 5.0
"""Seconds between asking a group to end and killing it."""
_TICK = 0.1
_CHUNK = 1 << 18
_SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Sink = Callable[[bytes], None]
_Streams = tuple[int, int | IO[bytes], int]


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A program that ended. `stdout` is whole (at most sinks.HEAD), `stderr` its last sinks.TAIL bytes."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


class ProgramFailed(HomeportError):
    """A program ended with another code than 0; `completed` has its output."""

    code, title = "program-failed", "A program that Homeport runs failed"
    completed: Completed | None = None


class Cancel:
    """Somebody's wish that work stops: set once, from any thread, seen by every program that runs under it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    def set(self) -> None:
        """Ask to stop, and call what was registered with `on_set`, once."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for at most `seconds`; whether it was set by then."""
        return self._event.wait(seconds)

    def raise_if_set(self) -> None:
        """Raises Canceled once set. `pipe`, `run` and `stream` ask this about ten times a second."""
        if self._event.is_set():
            raise Canceled("Somebody asked to stop.")

    def on_set(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when set, at once if it is already. Returns a function that takes the wish back."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock, suppress(ValueError):
            self._callbacks.remove(callback)


def base_env() -> dict[str, str]:
    """What a program gets when nothing else is said: where programs are, a home, UTF-8. Nothing of the server's."""
    return {
        "PATH": os.environ.get("PATH", _SAFE_PATH),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
    }


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    timeout: float = 60,
    check: bool = True,
) -> Completed:
    """Run to the end and keep its output.

    Raises Unavailable when there is no such program, TimedOut, TooLarge past sinks.HEAD bytes of output, and with
    `check` ProgramFailed for an exit code other than 0. `env` is the whole environment; None means `base_env()`.
    """
    out = sinks.Head(argv[0])
    child = _Child(argv, cwd=cwd, env=env)
    child.feed([input] if input else [])
    completed = child.finish(out, timeout, None)
    completed = msgspec.structs.replace(completed, stdout=bytes(out.kept))
    if check:
        raise_if_failed(completed)
    return completed


def pipe(
    argv: Sequence[str],
    *,
    source: Iterable[bytes] = (),
    sink: Sink,
    env: Mapping[str, str] | None = None,
    timeout: float,
    cancel: Cancel | None = None,
) -> Completed:
    """Feed `source` to a program while `sink` takes what it prints: neither side is held in memory.

    What `source` or `sink` raises ends the program's whole group and comes out here; also raises as `run` does, and
    Canceled. An exit code other than 0 is only returned. `Completed.stdout` is empty.
    """
    child = _Child(argv, cwd=None, env=env)
    child.feed(source)
    return child.finish(sink, timeout, cancel)


def stream(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float,
    cancel: Cancel | None = None,
) -> int:
    """Run and hand over every line of stdout and stderr as it comes; returns the exit code.

    Lines are cut at 16 KiB (what follows until the newline is dropped). Raises TimedOut and Canceled after the
    program's whole group was asked to end, and killed 5 s later; Unavailable when there is no such program.
    """
    lines = sinks.Lines(on_line)
    child = _Child(argv, cwd=cwd, env=env, merge=True)
    child.feed(())
    completed = child.finish(lines, timeout, cancel)
    lines.close()
    return completed.exit_code


def spawn(argv: Sequence[str], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> int:
    """Start a program that outlives us: a session of its own, output appended to `log`. Returns its pid; see `reap`."""
    with open(log, "ab") as output:
        child = _start(argv, cwd, env, (subprocess.DEVNULL, output, subprocess.STDOUT))
    child.returncode = 0  # Popen would warn when it is collected: this child is ours no longer
    return child.pid


def reap(pid: int) -> int | None:
    """The exit code of a child started by `spawn` once it ended (minus the signal that killed it), else None."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if ended else None


def raise_if_failed(completed: Completed) -> None:
    """Raises ProgramFailed with the last lines of stderr (or stdout) when the exit code is not 0, or OutOfSpace."""
    if completed.exit_code == 0:
        return
    program = Path(completed.argv[0]).name
    text = (completed.stderr or completed.stdout[-sinks.TAIL :]).decode(errors="replace")
    last = " · ".join(clean_line(line) for line in text.strip().splitlines()[-3:])
    if "No space left on device" in text:
        raise OutOfSpace(f"{program}: no space left on the disk.")
    failed = ProgramFailed(f"{program} ended with {completed.exit_code}: {last or 'it said nothing'}")
    failed.completed = completed
    raise failed


def _start(
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    streams: _Streams,
) -> subprocess.Popen[bytes]:
    if any("\0" in part for part in argv):
        raise BadInput("An argument has a NUL character in it.")
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(base_env() if env is None else env),
            start_new_session=True,
            bufsize=0,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise Unavailable(f"The folder {cwd} is not there.") from error
        hint = f"Install {argv[0]} and try again."
        raise Unavailable(f"The program {argv[0]} is not installed.", hint=hint) from error
    except PermissionError as error:
        raise Unavailable(f"The program {argv[0]} may not be run by this user.") from error


class _Child:
    """A program in a session of its own, its pipes pumped by one thread until it has ended or is ended."""

    def __init__(self, argv: Sequence[str], *, cwd: Path | None, env: Mapping[str, str] | None, merge: bool = False) -> None:
        self._argv = tuple(argv)
        errors = subprocess.STDOUT if merge else subprocess.PIPE
        self._process = _start(argv, cwd, env, (subprocess.PIPE, subprocess.PIPE, errors))
        self._source: Iterator[bytes] = iter(())
        self._pending = memoryview(b"")

    def feed(self, source: Iterable[bytes]) -> None:
        """What its stdin gets."""
        self._source = iter(source)

    def finish(self, sink: Sink, timeout: float, cancel: Cancel | None) -> Completed:
        """Pump until it ended; whatever is raised on the way ends its group first."""
        errors = sinks.Tail()
        deadline = time.monotonic() + timeout
        try:
            with selectors.DefaultSelector() as selector:
                self._register(selector, sink, errors)
                self._pump(selector, deadline, cancel)
            self._stdin.close()
            self._await_exit(deadline, cancel)
        except BaseException:
            self._end_group()
            raise
        finally:
            self._close()
        return Completed(argv=self._argv, exit_code=self._process.returncode, stderr=bytes(errors.kept))

    def _register(self, selector: selectors.BaseSelector, sink: Sink, errors: Sink) -> None:
        for end, take in ((self._process.stdout, sink), (self._process.stderr, errors)):
            if end is not None:
                os.set_blocking(end.fileno(), False)
                selector.register(end, selectors.EVENT_READ, take)
        if self._more():
            os.set_blocking(self._stdin.fileno(), False)
            selector.register(self._stdin, selectors.EVENT_WRITE, None)
        else:
            self._stdin.close()

    def _pump(self, selector: selectors.BaseSelector, deadline: float, cancel: Cancel | None) -> None:
        outputs = 1 + (self._process.stderr is not None)
        next_look = 0.0
        while outputs:
            ready = selector.select(_TICK)
            now = time.monotonic()
            if now >= next_look:
                self._raise_if_over(deadline, cancel)
                next_look = now + _TICK
            for key, _ in ready:
                if key.data is None:
                    self._write(selector)
                elif not _read(key.fd, key.data):
                    selector.unregister(key.fileobj)
                    outputs -= 1
            if not ready and self._exited():
                return  # a descendant holds the pipes open; it is ended with the group

    def _write(self, selector: selectors.BaseSelector) -> None:
        try:
            self._pending = self._pending[os.write(self._stdin.fileno(), self._pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._pending, self._source = memoryview(b""), iter(())
        if not self._more():
            selector.unregister(self._stdin)
            self._stdin.close()

    def _more(self) -> bool:
        while not self._pending:
            chunk = next(self._source, None)
            if chunk is None:
                return False
            self._pending = memoryview(chunk)
        return True

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _raise_if_over(self, deadline: float, cancel: Cancel | None) -> None:
        if cancel is not None:
            cancel.raise_if_set()
        if time.monotonic() >= deadline:
            raise TimedOut(f"{Path(self._argv[0]).name} did not finish in time.")

    def _exited(self) -> bool:
        """Whether it ended, without reaping: until then its group's number cannot go to anybody else."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None

    def _await_exit(self, deadline: float, cancel: Cancel | None) -> None:
        pause = 0.0002
        while not self._exited():
            self._raise_if_over(deadline, cancel)
            time.sleep(pause)
            pause = min(pause * 2, _TICK)
        self._kill(signal.SIGKILL)
        self._process.wait()

    def _end_group(self) -> None:
        if self._process.returncode is not None:
            return
        self._kill(signal.SIGTERM)
        limit = time.monotonic() + GRACE
        while not self._exited() and time.monotonic() < limit:
            time.sleep(0.02)
        self._kill(signal.SIGKILL)
        self._process.wait()

    def _kill(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _close(self) -> None:
        for end in (self._process.stdin, self._process.stdout, self._process.stderr):
            if end is not None:
                end.close()


def _read(fd: int, sink: Sink) -> bool:
    """One chunk to `sink`; False at the end."""
    try:
        chunk = os.read(fd, _CHUNK)
    except BlockingIOError:
        return True
    if chunk:
        sink(chunk)
    return bool(chunk)
