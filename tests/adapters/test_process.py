from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters import process, sinks
from app.adapters.process import Cancel, ProgramFailed
from app.errors import BadInput, Canceled, OutOfSpace, TimedOut, TooLarge, Unavailable

PYTHON = sys.executable


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float = 5) -> bool:
    limit = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < limit:
        time.sleep(0.01)
    return not alive(pid)


def number_in(path: Path, seconds: float = 10) -> int:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"nothing was written to {path}")


def test_run_returns_what_was_printed() -> None:
    argv = [PYTHON, "-c", "import sys; print('out'); print('err', file=sys.stderr)"]
    completed = process.run(argv)
    assert completed == process.Completed(argv=tuple(argv), exit_code=0, stdout=b"out\n", stderr=b"err\n")


def test_run_feeds_more_than_a_pipe_holds() -> None:
    text = os.urandom(1 << 20)
    assert process.run(["cat"], input=text).stdout == text


def test_a_program_that_does_not_read_is_not_waited_for() -> None:
    assert process.run(["true"], input=b"x" * (1 << 20)).exit_code == 0


def test_run_raises_with_the_last_words() -> None:
    with pytest.raises(ProgramFailed, match=r"ended with 3: no such \ufffdthing") as raised:
        process.run(["sh", "-c", "printf 'no such \\athing\\n' >&2; exit 3"])
    assert raised.value.completed is not None
    assert raised.value.completed.exit_code == 3


def test_run_can_leave_the_exit_code_to_the_caller() -> None:
    assert process.run(["sh", "-c", "exit 3"], check=False).exit_code == 3


def test_a_killed_program_has_a_negative_exit_code() -> None:
    assert process.run(["sh", "-c", "kill -9 $$"], check=False).exit_code == -signal.SIGKILL


def test_a_full_disk_is_its_own_error() -> None:
    with pytest.raises(OutOfSpace):
        process.run(["sh", "-c", "echo 'cp: No space left on device' >&2; exit 1"])


def test_a_missing_program_is_named() -> None:
    with pytest.raises(Unavailable, match="no-such-program is not installed"):
        process.run(["no-such-program"])


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="missing is not there"):
        process.run(["true"], cwd=tmp_path / "missing")


def test_nul_in_an_argument_is_refused() -> None:
    with pytest.raises(BadInput, match="NUL"):
        process.run(["echo", "a\0b"])


def test_the_environment_of_the_server_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_CANARY", "secret")
    names = {line.split(b"=")[0] for line in process.run(["env"]).stdout.splitlines()}
    assert names <= {b"PATH", b"HOME", b"LANG", b"PWD", b"SHLVL", b"_"}


def test_a_given_environment_is_the_whole_one() -> None:
    assert process.run(["/usr/bin/env"], env={"ONLY": "this"}).stdout == b"ONLY=this\n"


def test_stdout_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "HEAD", 1 << 20)
    with pytest.raises(TooLarge, match="head printed more than 1 MiB"):
        process.run(["head", "-c", "2M", "/dev/zero"])


def test_stderr_keeps_its_end() -> None:
    completed = process.run(["sh", "-c", "head -c 1M /dev/zero >&2; echo end >&2"])
    assert len(completed.stderr) == sinks.TAIL
    assert completed.stderr.endswith(b"end\n")


def test_timeout_ends_the_whole_group(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut, match="sh did not finish in time"):
        process.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], timeout=0.5)
    assert time.monotonic() - started < process.GRACE
    assert gone(number_in(tmp_path / "pid"))


def test_what_ignores_the_polite_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.3)
    script = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    with pytest.raises(TimedOut):
        process.stream(["sh", "-c", script], on_line=lambda _: None, timeout=0.5)
    assert gone(number_in(tmp_path / "pid"))


def test_a_polite_program_has_time_to_clean_up(tmp_path: Path) -> None:
    script = f"trap 'echo cleaned > {tmp_path}/said; exit' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    with pytest.raises(TimedOut):
        process.run(["sh", "-c", script], timeout=0.5)
    assert (tmp_path / "said").read_text() == "cleaned\n"


def test_a_background_child_holds_nobody_up(tmp_path: Path) -> None:
    started = time.monotonic()
    completed = process.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; echo done"])
    assert completed.stdout == b"done\n"
    assert time.monotonic() - started < 5
    assert gone(number_in(tmp_path / "pid"))


def test_stream_hands_over_lines_of_both_streams_as_they_come() -> None:
    lines: list[str] = []
    code = process.stream(
        ["sh", "-c", "echo one; echo two >&2; printf 'three\\r\\nfour'; exit 4"], on_line=lines.append, timeout=10
    )
    assert (code, lines) == (4, ["one", "two", "three", "four"])


def test_stream_does_not_wait_for_the_end(tmp_path: Path) -> None:
    script = f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo last"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        (tmp_path / "go").touch()

    assert process.stream(["sh", "-c", script], on_line=on_line, timeout=10) == 0
    assert lines == ["first", "last"]


def test_stream_cuts_long_lines_and_replaces_what_is_no_text() -> None:
    lines: list[str] = []
    script = "head -c 100000 /dev/zero | tr '\\0' x; echo; printf '\\377\\n'; echo end"
    process.stream(["sh", "-c", script], on_line=lines.append, timeout=10)
    assert lines == ["x" * (16 * 1024), "\ufffd", "end"]


def test_cancel_is_prompt_and_ends_the_group(tmp_path: Path) -> None:
    cancel = Cancel()
    set_at: list[float] = []

    def stop() -> None:
        number_in(tmp_path / "pid")
        set_at.append(time.monotonic())
        cancel.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Canceled):
        process.stream(
            ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"],
            on_line=lambda _: None,
            timeout=30,
            cancel=cancel,
        )
    took = time.monotonic() - set_at[0]
    thread.join()
    assert gone(number_in(tmp_path / "pid"))
    assert took < 20  # of the 30 and 60 that it would take otherwise


def test_cancel_works_on_a_program_that_never_pauses() -> None:
    cancel = Cancel()
    seen = 0

    def on_line(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen == 1000:
            cancel.set()

    with pytest.raises(Canceled):
        process.stream(["yes"], on_line=on_line, timeout=30, cancel=cancel)


def test_what_on_line_raises_ends_the_program(tmp_path: Path) -> None:
    def on_line(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="boom"):
        process.stream(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo boom; sleep 60"], on_line=on_line, timeout=30)
    assert gone(number_in(tmp_path / "pid"))


def test_pipe_holds_neither_side() -> None:
    size = 0

    def sink(chunk: bytes) -> None:
        nonlocal size
        size += len(chunk)

    block = b"x" * (1 << 20)
    completed = process.pipe(["cat"], source=(block for _ in range(32)), sink=sink, timeout=60)
    assert (completed.exit_code, completed.stdout, size) == (0, b"", 32 << 20)


def test_what_the_source_raises_ends_the_program(tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        yield b"x"
        number_in(tmp_path / "pid")
        raise ValueError("bad input")

    with pytest.raises(ValueError, match="bad input"):
        process.pipe(["sh", "-c", f"echo $$ > {tmp_path}/pid; cat; sleep 60"], source=source(), sink=lambda _: None, timeout=30)
    assert gone(number_in(tmp_path / "pid"))


def test_nothing_stays_open() -> None:
    process.run(["true"])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        process.run(["true"], input=b"x")
        process.run(["false"], check=False)
    assert len(os.listdir("/proc/self/fd")) == before


def test_cancel_calls_back_once() -> None:
    cancel = Cancel()
    called: list[str] = []
    cancel.on_set(lambda: called.append("first"))
    forget = cancel.on_set(lambda: called.append("forgotten"))
    forget()
    cancel.set()
    cancel.set()
    cancel.on_set(lambda: called.append("late"))
    assert called == ["first", "late"]
    assert cancel.is_set()
    assert cancel.wait(0)
    with pytest.raises(Canceled):
        cancel.raise_if_set()


def test_spawn_outlives_and_is_reaped(tmp_path: Path) -> None:
    pid = process.spawn(["sh", "-c", "echo hello; sleep 60"], log=tmp_path / "log")
    limit = time.monotonic() + 10
    while not (tmp_path / "log").read_bytes() and time.monotonic() < limit:
        time.sleep(0.01)
    assert (tmp_path / "log").read_text() == "hello\n"
    assert process.reap(pid) is None
    assert os.getsid(pid) == pid
    os.killpg(pid, signal.SIGKILL)
    while (code := process.reap(pid)) is None and time.monotonic() < limit:
        time.sleep(0.01)
    assert code == -signal.SIGKILL
