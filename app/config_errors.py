"""Where in homeport.toml something is wrong, and what was probably meant."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from app.errors import ConfigInvalid

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_UNKNOWN = re.compile(r"unknown field `(.+)`")
_FREE = {"defaults", "counts"}
"""Tables that stand for the free keys of [env] and [scale]; no part of what the person wrote."""

ConfigPath = tuple[str | int, ...]


def invalid(text: str, path: ConfigPath, what: str) -> ConfigInvalid:
    """The error that says `what` is wrong at `path`, with its line."""
    key, line = _spelled(path), line_of(text, path)
    place = f"homeport.toml line {line}" if line else "homeport.toml"
    return ConfigInvalid(f"{place}, {key}: {what}" if key else f"{place}: {what}", line=line, key=key)


def explain(
    error: msgspec.ValidationError,
    text: str,
    shaped: dict[str, Any],
    whole: type[msgspec.Struct],
    fails: Callable[[object], bool],
) -> ConfigInvalid:
    """`error` of a document `whole` in our words. `fails` says whether one is refused: it finds the guilty key of many."""
    match = _PLACE.match(str(error))
    what, path = (match["what"], _path(match["path"] or "")) if match else (str(error), ())
    unknown = _UNKNOWN.search(what)
    if unknown:
        return _unknown(text, path, unknown[1], _fields(whole, path))
    if "..." in path:
        path = _blame(shaped, path, fails)
    return invalid(text, _written(path), _plain(what))


def line_of(text: str, path: ConfigPath) -> int | None:
    """The line (from 1) that says `path`, or the nearest table above it; None when neither stands there on its own."""
    wanted = list(path)
    best: tuple[int, int] | None = None
    for number, full in _keys(text):
        shared = full if full == wanted[: len(full)] else []
        if shared and (best is None or len(shared) > best[0]):
            best = (len(shared), number)
    return best[1] if best else None


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """`; did you mean X?`, or which names there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"


def _unknown(text: str, path: ConfigPath, name: str, known: tuple[str, ...]) -> ConfigInvalid:
    return invalid(text, (*_written(path), name), f"there is no such key; {suggestion(name, known)}")


def _fields(whole: type[msgspec.Struct], path: ConfigPath) -> tuple[str, ...]:
    kind: type[msgspec.Struct] | None = whole
    for part in path:
        if isinstance(part, str) and part != "..." and kind is not None:
            field = next((field for field in msgspec.structs.fields(kind) if field.encode_name == part), None)
            kind = _struct(field.type) if field else None
    return tuple(kind.__struct_encode_fields__) if kind is not None else ()


def _struct(kind: object) -> type[msgspec.Struct] | None:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind
    return next((found for inner in typing.get_args(kind) if (found := _struct(inner))), None)


def _path(text: str) -> ConfigPath:
    return tuple(int(index) if index else ("..." if free else name) for name, index, free in _STEP.findall(text))


def _blame(shaped: dict[str, Any], path: ConfigPath, fails: Callable[[object], bool]) -> ConfigPath:
    """`path` with `...` replaced by the key whose value alone is refused."""
    at = path.index("...")
    table: Any = shaped
    for part in path[:at]:
        table = table[part]
    for key in table:
        if fails(_with(shaped, path[:at], {key: table[key]})):
            return (*path[:at], key, *path[at + 1 :])
    return path[:at]


def _with(node: object, path: ConfigPath, value: object) -> object:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(node, list):
        return [_with(item, rest, value) if index == head else item for index, item in enumerate(node)]
    if isinstance(node, dict):
        return {key: _with(item, rest, value) if key == head else item for key, item in node.items()}
    return node


def _written(path: ConfigPath) -> ConfigPath:
    return tuple(part for part in path if part not in _FREE)


def _plain(what: str) -> str:
    if not what.startswith(("Expected", "Object", "Invalid")):
        return what
    return what.replace(" | null`", "`").replace("`", "").replace("Expected object", "Expected a table")


def _spelled(path: ConfigPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _keys(text: str) -> typing.Iterator[tuple[int, list[str | int]]]:
    """Every table header and key with its line, as full paths; a table of an array carries its index."""
    table: list[str | int] = []
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            names = tuple(_parts(header[2]))
            if header[1] == "[[":
                counts[names] = counts.get(names, -1) + 1
            table = _indexed(names, counts)
            yield number, table
        elif key:
            yield number, [*table, *_parts(key[1])]


def _indexed(names: tuple[str, ...], counts: dict[tuple[str, ...], int]) -> list[str | int]:
    path: list[str | int] = []
    for at, name in enumerate(names, start=1):
        path.append(name)
        if names[:at] in counts:
            path.append(counts[names[:at]])
    return path


def _parts(text: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(text)]
