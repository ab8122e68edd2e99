"""Takes secrets out of text before it is kept: exact values, base64 at each alignment, hex, URL-encoded, each line of many."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

SHORTEST = 6
"""A shorter value (`on`, `8080`) would take ordinary words out of every log."""
MASK = "[redacted]"
_JAVASCRIPT = "!'()*~"
"""What encodeURIComponent leaves as it is and `quote` does not (ECMA-262)."""


def redactor(values: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces every form of `values` in a line by MASK."""
    forms = sorted({form for value in values for form in forms_of(value)}, key=len, reverse=True)
    if not forms:
        return str
    pattern = re.compile("|".join(re.escape(form) for form in forms))
    return lambda line: pattern.sub(MASK, line)


def forms_of(value: str) -> set[str]:
    """Every text under which `value` could show up in one line of a log."""
    pieces = {value.strip(), *(line.strip() for line in value.splitlines())}
    forms: set[str] = set()
    for piece in pieces:
        if len(piece) < SHORTEST:
            continue
        raw = piece.encode()
        forms |= {
            piece,
            quote(piece, safe=""),
            quote(piece),
            quote_plus(piece),
            quote(piece, safe=_JAVASCRIPT),
            raw.hex(),
            raw.hex().upper(),
        }
        forms |= {piece.replace("\\", "\\\\").replace('"', '\\"')}
        forms |= _base64_forms(raw)
    return forms


def _base64_forms(raw: bytes) -> set[str]:
    # Inside a longer text the value starts at one of three offsets; only the groups it fills alone are stable.
    forms = set()
    for offset in range(3):
        padded = b"\0" * offset + raw
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(padded).decode().rstrip("=")
            first = (offset * 8 + 5) // 6
            last = len(padded) * 8 // 6
            inner = text[first:last]
            if len(inner) >= SHORTEST:
                forms.add(inner)
    return forms
