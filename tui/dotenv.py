"""Reads files of `KEY=value` lines as shells and the usual .env tools write them. Nothing is expanded or executed."""

from __future__ import annotations

import re

from app.errors import BadInput
from app.model import ENV_KEY

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$", "`": "`"}
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<key>[^\s=#]+)[ \t]*=[ \t]*")


def parse(text: str) -> dict[str, str]:
    """The variables of a file, the last one of a key winning.

    `export` may stand before a key, `#` begins a comment at the start of a line or after white space. Single quotes keep
    everything, double quotes know \\n \\r \\t \\\\ \\" \\$; both may run over lines. Raises BadInput with the number of the line.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end].strip()
        if not line or line.startswith("#"):
            at = end + 1
            continue
        key, start = _key(text, at, end)
        found[key], at = _value(text, start)
    return found


def _key(text: str, at: int, end: int) -> tuple[str, int]:
    match = _ASSIGNMENT.match(text, at, end)
    if match is None:
        raise _bad(text, at, "is not KEY=value")
    if not ENV_KEY.fullmatch(match["key"]):
        raise _bad(text, at, f"{match['key']!r} is no name of a variable")
    return match["key"], match.end()


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that begins at `at`, and where the next line begins."""
    quote = text[at : at + 1]
    if quote not in ("'", '"') or not quote:
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        return _bare(text[at:end]), end + 1
    value, after = _quoted(text, at, quote)
    end = text.find("\n", after)
    end = len(text) if end < 0 else end
    rest = text[after:end].strip()
    if rest and not rest.startswith("#"):
        raise _bad(text, after, "has something after the closing quote")
    return value, end + 1


def _bare(text: str) -> str:
    if text.startswith("#"):
        return ""
    return re.split(r"\s+#", text, maxsplit=1)[0].strip()


def _quoted(text: str, start: int, quote: str) -> tuple[str, int]:
    kept: list[str] = []
    at = start + 1
    while at < len(text):
        character = text[at]
        if character == quote:
            return "".join(kept), at + 1
        if character == "\\" and quote == '"' and text[at + 1 : at + 2] in _ESCAPES:
            kept.append(_ESCAPES[text[at + 1]])
            at += 2
            continue
        kept.append(character)
        at += 1
    raise _bad(text, start, "has a quote that is never closed")


def _bad(text: str, at: int, what: str) -> BadInput:
    number = text.count("\n", 0, at) + 1
    return BadInput(f"line {number} {what}", hint="Lines are KEY=value; values with spaces or # need quotes.")
