"""Crash points before and after every call of an adapter, by construction: adapters are wrapped once, in `app.main`.

`CRASH_AT=<point>:<n>` kills this process with SIGKILL when it passes `<point>` for the n-th time; `CRASH_LOG=<file>` appends
every point as it is passed. Without either, nothing is wrapped.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")

_lock = threading.Lock()
_passed: Counter[str] = Counter()
_armed = False


def guard(name: str, adapter: T) -> T:
    """`adapter`, with a crash point before and after each call of its public methods when the environment asks for them."""
    if not (os.environ.get("CRASH_AT") or os.environ.get("CRASH_LOG")):
        return adapter
    return cast(T, _Guarded(name, adapter))


def arm() -> None:
    """Points count from here: starting up is swept by the same points, but they would hide those of the path."""
    global _armed
    _armed = True


def point(name: str) -> None:
    """Pass a point: die here when the environment says so."""
    target, log = os.environ.get("CRASH_AT"), os.environ.get("CRASH_LOG")
    if not (target or log) or not _armed:
        return
    with _lock:
        _passed[name] += 1
        seen = f"{name}:{_passed[name]}"
        if log:
            with open(log, "a", encoding="utf-8") as file:
                file.write(seen + "\n")
        if seen == target:
            os.kill(os.getpid(), signal.SIGKILL)


class _Guarded:
    def __init__(self, name: str, adapter: object) -> None:
        self._name = name
        self._adapter = adapter

    def __getattr__(self, attribute: str) -> Any:  # noqa: ANN401
        value = getattr(self._adapter, attribute)
        if attribute.startswith("_") or not callable(value):
            return value
        return self._wrapped(attribute, value)

    def _wrapped(self, attribute: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            point(f"{self._name}.{attribute}.before")
            result = call(*args, **kwargs)
            point(f"{self._name}.{attribute}.after")
            return result

        return guarded
