"""The one sanitiser: foreign text (logs, commit messages, names, errors) passes here before it reaches a terminal."""

from __future__ import annotations

import re

MAX_LINE = 16 * 1024
_KEPT = MAX_LINE - 64

# ECMA-48 sequences first (they carry printable payloads), then what is left of the control characters.
# Strings: OSC, DCS, SOS, PM, APC up to their terminator, or to the end of the text when it never comes.
_SEQUENCES = re.compile(
    r"(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)?"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c|$)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def clean(text: str) -> str:
    """`text` without terminal escape sequences; other control and bidi characters become U+FFFD. Keeps tab and newline."""
    return _CONTROLS.sub("\ufffd", _SEQUENCES.sub("", text.replace("\r\n", "\n")))


def clean_line(text: str) -> str:
    """One line of foreign text: cleaned, without newlines, and at most MAX_LINE characters, the count of the rest included."""
    line = clean(text.rstrip("\r\n")).replace("\n", " ")
    return line if len(line) <= MAX_LINE else f"{line[:_KEPT]} … {len(line) - _KEPT} more characters"
