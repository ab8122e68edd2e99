"""The kinds of value that homeport.toml holds: what is accepted, and the words when something else stands there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)?")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PATH = re.compile(r"[\w.@+ /~-]+", re.ASCII)

PROCESS_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?")
BUILD_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\*?")
COMMAND_LIMIT = 8192
MINIMUM_MEMORY = 6 << 20
"""What the engine gives a container at least."""


class Size(int):
    """Bytes, from `"512m"`, `"1g"` or a number."""


class Seconds(float):
    """Seconds, from `"30s"`, `"2m"` or a number."""


class TreePath(str):
    """A path inside the repository: relative, normalised."""


class WebPath(str):
    """A path of a URL: starts with one `/`."""


class Command(str):
    """One line for `sh -c` inside the container."""


class Line(str):
    """Text without control characters."""


def convert(kind: type, value: object) -> object:
    """`value` as a `kind` of this module. Raises ValueError in words that complete "<key>: …"."""
    return _KINDS[kind][0](value)


def schema(kind: type) -> dict[str, Any]:
    """The JSON Schema of a `kind` of this module."""
    return dict(_KINDS[kind][1])


def _size(value: object) -> Size:
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match:
        number = int(float(match[1]) * (1 << _UNITS[match[2].lower()]))
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise ValueError(f'{value!r} is no size: write "512m", "1g" or a number of bytes')
    if not MINIMUM_MEMORY <= number < 1 << 50:
        raise ValueError(f"{value!r} is no usable size: at least 6m is needed")
    return Size(number)


def _seconds(value: object) -> Seconds:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match:
        number = float(match[1]) * _SECONDS[match[2] or "s"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ValueError(f'{value!r} is no duration: write "30s", "2m" or a number of seconds')
    if not 0 < number <= 86400:
        raise ValueError(f"{value!r} is no usable duration: more than 0, at most 24h")
    return Seconds(number)


def _tree_path(value: object) -> TreePath:
    text = _text(value)
    if text.startswith("/"):
        raise ValueError(f"{text!r} is absolute: write it relative to the repository")
    if text.startswith("-"):
        raise ValueError(f"{text!r} starts with `-`")
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} holds characters that a path here cannot have")
    normal = posixpath.normpath(text)
    if normal.split("/")[0] == "..":
        raise ValueError(f"{text!r} leads out of the repository")
    if ".." in text.split("/"):
        raise ValueError(f"{text!r} holds `..`: write {normal!r}")
    if normal.startswith("-"):
        raise ValueError(f"{text!r} starts with `-`")
    return TreePath(normal)


def _web_path(value: object) -> WebPath:
    text = _text(value)
    if not text.startswith("/") or text.startswith("//") or " " in text or "#" in text:
        raise ValueError(f'{text!r} is no URL path: write it like "/healthz"')
    return WebPath(text)


def _command(value: object) -> Command:
    text = _text(value).strip()
    if not text or len(text) > COMMAND_LIMIT:
        raise ValueError(f"a command is 1 to {COMMAND_LIMIT} characters long")
    return Command(text)


def _line(value: object) -> Line:
    if isinstance(value, bool):
        return Line("true" if value else "false")
    if isinstance(value, int | float):
        return Line(str(value))
    return Line(_text(value, empty=True))


def _text(value: object, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text in quotes, got {value!r}")
    if _CONTROL.search(value):
        raise ValueError("newlines and control characters are not allowed here")
    if not value and not empty:
        raise ValueError("must not be empty")
    return value


_KINDS: dict[type, tuple[Callable[[object], object], dict[str, Any]]] = {
    Size: (_size, {"type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)?\s*[kmgtKMGT]?i?[bB]?$"}),
    Seconds: (_seconds, {"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?\s*(ms|s|m|h)?$"}),
    TreePath: (_tree_path, {"type": "string", "pattern": r"^(?![-/])(?!(.*/)?\.\.(/|$)).+$"}),
    WebPath: (_web_path, {"type": "string", "pattern": r"^/(?!/)[^\s#]*$"}),
    Command: (_command, {"type": "string", "minLength": 1, "maxLength": COMMAND_LIMIT, "pattern": r"^[^\n\r]+$"}),
    Line: (_line, {"type": ["string", "number", "boolean"]}),
}
