"""The stages of a deploy as they happen, on stderr: redrawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Protocol

from app.model import STAGES, Deployment
from tui.output import Output, Painted, Part

TAIL = 6
"""Newest lines of the log, shown below the stage that runs."""
FRAME_SECONDS = 0.1
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_SPINNER = "|/-\\"


class Track(Protocol):
    """Where the progress of one deployment is shown."""

    def stage(self, name: str) -> None:
        """`name` began."""

    def ended(self, name: str, word: str, seconds: float) -> None:
        """`name` ended: `word` is ok, failed or canceled."""

    def log(self, line: str) -> None:
        """One line of the deployment's log."""

    def say(self, text: str) -> None:
        """Something that is no part of the log."""

    def close(self) -> None:
        """Nothing more comes; what is drawn in place goes."""


class Plain:
    """Lines, for pipes, logs and dumb terminals."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def stage(self, name: str) -> None:
        return

    def ended(self, name: str, word: str, seconds: float) -> None:
        self._out.note(f"{name} {word} {seconds:.1f} s")

    def log(self, line: str) -> None:
        self._out.note(f"  | {line}")

    def say(self, text: str) -> None:
        self._out.note(text)

    def close(self) -> None:
        return


class Live:
    """Stages that have ended stay as lines; below them the running one with its clock and the last lines of the log."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._name: str | None = None
        self._began = time.monotonic()
        self._drawn = 0
        self._frame = 0
        self._closed = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="track", daemon=True)
        self._ticker.start()

    def stage(self, name: str) -> None:
        with self._lock:
            self._name, self._began = name, time.monotonic()
            self._redraw()

    def ended(self, name: str, word: str, seconds: float) -> None:
        mark = self._out.mark("ok" if word == "ok" else "failed" if word == "failed" else "canceled")
        glyph = Painted(mark.text.split(" ")[0], mark.style)
        with self._lock:
            if self._name == name:
                self._name = None
            self._redraw([[glyph, f" {name:<8}", Painted(f"{word} {seconds:6.1f} s", "dim")]])

    def log(self, line: str) -> None:
        with self._lock:
            self._tail.append(line)

    def say(self, text: str) -> None:
        with self._lock:
            self._redraw([[text]])

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._ticker.join()
            with self._lock:
                self._out.draw(self._drawn, [])
                self._drawn = 0

    def _tick(self) -> None:
        while not self._closed.wait(FRAME_SECONDS):
            with self._lock:
                self._frame += 1
                self._redraw()

    def _redraw(self, above: list[list[Part]] | None = None) -> None:
        below = self._region()
        self._out.draw(self._drawn, [*(above or []), *below])
        self._drawn = len(below)

    def _region(self) -> list[list[Part]]:
        if self._name is None:
            return []
        spinner = SPINNER if self._out.unicode else ASCII_SPINNER
        bar = "│" if self._out.unicode else "|"
        clock = f"   {time.monotonic() - self._began:6.1f} s"
        head: list[Part] = [
            Painted(spinner[self._frame % len(spinner)], "yellow"),
            f" {self._name:<8}",
            Painted(clock, "dim"),
        ]
        tail: list[list[Part]] = [[Painted(f"  {bar} {line}", "dim")] for line in self._tail]
        return [head, *tail]


def track(out: Output) -> Track:
    """The track that suits where stderr goes."""
    return Live(out) if out.live else Plain(out)


class Progress:
    """Turns one state of a deployment after another into what the track shows, each stage's end once."""

    def __init__(self, shown: Track) -> None:
        self._track = shown
        self._timed: set[str] = set()
        self._status = "queued"
        self.ended: list[tuple[str, str, float]] = []
        """(stage, word, seconds) of those that ended with the newest `see`."""

    def see(self, deployment: Deployment) -> None:
        """Show what is new in `deployment`."""
        failed = deployment.failure.stage if deployment.failure else None
        self.ended = []
        for name in STAGES:
            seconds = deployment.stage_seconds.get(name)
            over = seconds is not None and (deployment.status != name)
            if seconds is not None and over and name not in self._timed:
                self._timed.add(name)
                word = "failed" if name == failed else "canceled" if self._stopped_in(deployment, name) else "ok"
                self.ended.append((name, word, seconds))
                self._track.ended(name, word, seconds)
        if deployment.status != self._status:
            self._status = deployment.status
            if deployment.status in STAGES:
                self._track.stage(deployment.status)
            elif deployment.status == "live" and deployment.drained_at is None:
                self._track.stage("drain")

    def _stopped_in(self, deployment: Deployment, name: str) -> bool:
        return deployment.status == "canceled" and self._status == name
