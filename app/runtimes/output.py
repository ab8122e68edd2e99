"""What applications print: the last lines of several containers in order of time, and what comes, through a bounded queue."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from app.adapters.docker import Docker
from app.adapters.process import Cancel
from app.errors import HomeportError
from app.runtimes.containers import label
from app.text import MAX_LINE, clean_line

Json = dict[str, Any]

QUEUE = 5000
"""Lines that wait for a slow reader; older ones are dropped and counted."""
LOOK_EVERY = 1.0
"""Seconds between two looks for containers that came or restarted."""


class Line(msgspec.Struct, frozen=True, order=True):
    """One line of output. `at` is the engine's time of it: fixed width, so it sorts as text."""

    at: str
    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.source} | {self.text}"


def last_lines(docker: Docker, containers: list[Json], count: int) -> list[Line]:
    """The last `count` lines of all of them together, oldest first."""
    return _merged(_tails(docker, containers, count), count)


def read(text: str, source: str) -> Line:
    """A line as the engine prints it: its time, a space, what was printed."""
    at, _, rest = text.partition(" ")
    return Line(at, source, clean_line(rest))


def source_of(container: Json) -> str:
    """`<process>.<index>`, as lines are headed."""
    return f"{label(container, 'homeport.process')}.{label(container, 'homeport.index')}"


def follow(docker: Docker, find: Callable[[], list[Json]], tail: int, cancel: Cancel) -> Iterator[Line]:
    """The last `tail` lines, then what comes until `cancel` is set: of restarted and new containers too.

    `find` lists the containers of now. A reader that is too slow loses the oldest lines, and a line says how many.
    """
    hang_up = Cancel()
    forget = cancel.on_set(hang_up.set)
    feed = _Feed()
    tails = _tails(docker, find(), max(tail, 1))
    seen = {key: lines[-1].at for key, lines in tails.items() if lines}
    followed: dict[str, _Follower] = {}
    try:
        yield from _merged(tails, tail)
        while not cancel.is_set():
            for container in find():
                _keep_following(docker, container, followed, seen, (feed, hang_up))
            yield from feed.take(LOOK_EVERY)
    finally:
        forget()
        hang_up.set()


def _tails(docker: Docker, containers: list[Json], count: int) -> dict[str, list[Line]]:
    """The last lines of each container, by its id."""
    return {box["Id"]: [read(text, source_of(box)) for text in docker.tail(box["Id"], count)] for box in containers}


def _merged(tails: dict[str, list[Line]], count: int) -> list[Line]:
    return sorted(line for lines in tails.values() for line in lines)[-count:] if count else []


def _keep_following(
    docker: Docker,
    container: Json,
    followed: dict[str, _Follower],
    seen: dict[str, str],
    ends: tuple[_Feed, Cancel],
) -> None:
    key = container["Id"]
    before = followed.get(key)
    if container["State"] != "running" or (before and before.is_alive()):
        return
    last = before.last if before else seen.get(key, "")
    followed[key] = _Follower(docker, container, last, *ends)
    followed[key].start()


class _Feed:
    """Lines on their way to one reader."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._lines: deque[Line] = deque()
        self._dropped = 0

    def put(self, line: Line) -> None:
        with self._ready:
            if len(self._lines) >= QUEUE:
                self._lines.popleft()
                self._dropped += 1
            self._lines.append(line)
            self._ready.notify()

    def take(self, seconds: float) -> list[Line]:
        """What is there, after waiting at most `seconds` for something to be."""
        with self._ready:
            self._ready.wait_for(lambda: bool(self._lines), timeout=seconds)
            lines, dropped = list(self._lines), self._dropped
            self._lines.clear()
            self._dropped = 0
        if dropped:
            lines.insert(0, Line(lines[0].at, lines[0].source, f"… {dropped} lines dropped: this reader is too slow"))
        return lines


class _Follower(threading.Thread):
    """Reads one container until it ends; `last` is the time of the last line it passed on."""

    def __init__(self, docker: Docker, container: Json, last: str, feed: _Feed, cancel: Cancel) -> None:
        super().__init__(name=f"follow-{source_of(container)}", daemon=True)
        self._docker = docker
        self._id = container["Id"]
        self._source = source_of(container)
        self._feed = feed
        self._cancel = cancel
        self.last = last

    def run(self) -> None:
        try:
            for line in lines_of(self._docker.follow(self._id, second_of(self.last), self._cancel)):
                self._pass_on(read(line, self._source))
        except HomeportError as error:
            self._feed.put(Line(self.last, self._source, f"… its output can no longer be read: {error.cause}"))

    def _pass_on(self, line: Line) -> None:
        if line.at > self.last:
            self.last = line.at
            self._feed.put(line)


def lines_of(chunks: Iterator[bytes]) -> Iterator[str]:
    """Whole lines out of chunks; one that is longer than MAX_LINE ends there."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
        if len(rest) > MAX_LINE:
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace")


def second_of(at: str) -> int:
    """The engine's time of a line as whole seconds since 1970; 0 for none."""
    return int(datetime.fromisoformat(f"{at[:19]}+00:00").timestamp()) if at else 0
