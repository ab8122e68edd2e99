"""The only writer to stdout and stderr: every text is cleaned of terminal sequences here, and only here is colour added.

Data goes to stdout (one JSON object per line with --json), everything said about it to stderr.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

import msgspec

from app.text import clean_line

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}
GLYPHS = {
    "live": ("●", "*", "green"),
    "ok": ("✓", "+", "green"),
    "failed": ("✖", "x", "red"),
    "error": ("✖", "x", "red"),
    "degraded": ("▲", "!", "yellow"),
    "warning": ("▲", "!", "yellow"),
    "stopped": ("○", "o", "dim"),
    "empty": ("○", "o", "dim"),
    "retired": ("○", "o", "dim"),
    "canceled": ("○", "o", "dim"),
    "superseded": ("○", "o", "dim"),
}
MOVING = ("◐", "~", "yellow")
"""The mark of every other state: something is under way."""


class Painted(NamedTuple):
    """Text with a style of CODES; the text itself is cleaned like any other."""

    text: str
    style: str


Part = str | Painted


class Output:
    """What the CLI says, where, and how. `environ` decides about colour and glyphs, the streams about interaction."""

    def __init__(
        self, *, stdout: IO[str], stderr: IO[str], stdin: IO[str], environ: Mapping[str, str], options: Mapping[str, bool]
    ) -> None:
        self._stdout, self._stderr, self._stdin = stdout, stderr, stdin
        self.json = options.get("json", False)
        self.quiet = options.get("quiet", False)
        self.yes = options.get("yes", False)
        plain = options.get("no_color", False) or bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self.colour_out = stdout.isatty() and not plain
        self.colour_err = stderr.isatty() and not plain
        self.live = stderr.isatty() and environ.get("TERM", "dumb") != "dumb" and not self.quiet
        self.interactive = stdin.isatty() and stderr.isatty()
        self.unicode = _unicode(stderr, environ)

    def emit(self, value: object) -> None:
        """One JSON object on one line of stdout, in ASCII: no control character reaches a terminal unescaped."""
        import json

        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=True, separators=(",", ":"))
        self._stdout.write(text + "\n")
        self._stdout.flush()

    def say(self, *parts: Part) -> None:
        """A line of data for people on stdout; nothing with --json, where `emit` speaks."""
        if not self.json:
            self._stdout.write(self._rendered(parts, self.colour_out) + "\n")
            self._stdout.flush()

    def document(self, text: str) -> None:
        """A text of our own (a completion script, a JSON Schema) on stdout as it is."""
        self._stdout.write(text if text.endswith("\n") else text + "\n")
        self._stdout.flush()

    def note(self, *parts: Part) -> None:
        """A line of progress or advice on stderr; silent with --quiet."""
        if not self.quiet:
            self.error(*parts)

    def error(self, *parts: Part) -> None:
        """A line on stderr that --quiet does not silence."""
        self._stderr.write(self._rendered(parts, self.colour_err) + "\n")
        self._stderr.flush()

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns on stdout; lines are cut to the terminal's width, and never elsewhere."""
        cleaned = [[clean_line(cell) for cell in row] for row in rows]
        widths = [max(cells(row[index]) for row in [list(header), *cleaned]) for index in range(len(header))]
        limit = self.width(self._stdout) if self._stdout.isatty() else None
        for number, row in enumerate([list(header), *cleaned]):
            line = "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
            line = line if limit is None else cut(line, limit)
            self.say(Painted(line, "dim") if number == 0 else line)

    def ask(self, question: str) -> bool:
        """A yes or no question on the terminal. Without one nobody is asked, and the answer is no."""
        return self.prompt(f"{question} [y/N] ").strip().lower() in ("y", "yes")

    def prompt(self, text: str) -> str:
        """A line from the terminal, empty without one."""
        if not self.interactive:
            return ""
        self._stderr.write(clean_line(text))
        self._stderr.flush()
        return self._stdin.readline()

    def mark(self, state: str) -> Painted:
        """Glyph and word of a state, in its colour: the glyph and the colour never stand alone."""
        glyph, plain, style = GLYPHS.get(state, MOVING)
        return Painted(f"{glyph if self.unicode else plain} {state}", style)

    def draw(self, erase: int, lines: Sequence[Sequence[Part]]) -> None:
        """Replace the last `erase` lines of the terminal on stderr by `lines`, each cut to its width."""
        width = self.width(self._stderr)
        up = f"\x1b[{erase}A\r\x1b[J" if erase else ""
        self._stderr.write(up + "".join(self._rendered(_cut_parts(parts, width), self.colour_err) + "\n" for parts in lines))
        self._stderr.flush()

    def width(self, stream: IO[str]) -> int:
        """Columns of the terminal that `stream` is, less one so that nothing wraps."""
        try:
            return max(os.get_terminal_size(stream.fileno()).columns or 80, 20) - 1
        except (OSError, ValueError):
            return 79

    def _rendered(self, parts: Sequence[Part], colour: bool) -> str:
        return "".join(_painted(part, colour) if isinstance(part, Painted) else clean_line(part) for part in parts)


def from_process(options: Mapping[str, bool]) -> Output:
    """The output of this process. Characters that its streams cannot encode are escaped instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    return Output(stdout=sys.stdout, stderr=sys.stderr, stdin=sys.stdin, environ=os.environ, options=options)


def cells(text: str) -> int:
    """Columns that `text` takes on a terminal: wide characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns; what was cut shows as `…`."""
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _cell(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def padded(text: str, width: int) -> str:
    """`text` filled with spaces to `width` columns."""
    return text + " " * (width - cells(text))


def _cell(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _cut_parts(parts: Sequence[Part], width: int) -> list[Part]:
    shown: list[Part] = []
    for part in parts:
        text = clean_line(part.text if isinstance(part, Painted) else part).replace("\t", "    ")
        text = cut(text, width) if width > 0 else ""
        width -= cells(text)
        shown.append(Painted(text, part.style) if isinstance(part, Painted) else text)
    return shown


def _painted(part: Painted, colour: bool) -> str:
    text = clean_line(part.text)
    return f"\x1b[{CODES[part.style]}m{text}\x1b[0m" if colour and text else text


def _unicode(stream: IO[str], environ: Mapping[str, str]) -> bool:
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return "utf" in locale.lower() and "utf" in str(getattr(stream, "encoding", "")).lower()
