"""The sanitiser: nothing that drives a terminal gets through, and what people wrote stays."""

from __future__ import annotations

import random
import unicodedata

import pytest

from app.text import MAX_LINE, clean, clean_line

PAYLOADS = {
    "OSC 52 with ST": ("a\x1b]52;c;aGFja2Vk\x1b\\b", "ab"),
    "OSC 52 with BEL": ("a\x1b]52;c;aGFja2Vk\x07b", "ab"),
    "title": ("a\x1b]0;owned\x1b\\b", "ab"),
    "colour and clear screen": ("a\x1b[31;2Jb", "ab"),
    "C1 CSI": ("a\x9b2Jb", "ab"),
    "OSC 8": ("\x1b]8;;https://evil.test\x1b\\text\x1b]8;;\x1b\\", "text"),
    "DCS": ("a\x1bP$qm\x1b\\b", "ab"),
    "CR overwrite": ("safe\rOVER", "safe\ufffdOVER"),
    "backspaces and bidi": ("ab\b\bX\u202ecod.exe", "ab\ufffd\ufffdX\ufffdcod.exe"),
    "unterminated OSC": ("a\x1b]52;c;AAAA", "a"),
    "C1 OSC": ("a\x9d0;owned\x9cb", "ab"),
    "C1 DCS": ("a\x90$qm\x9cb", "ab"),
    "APC": ("a\x1b_Gf=32;AAAA\x1b\\b", "ab"),
    "PM, SOS": ("a\x1b^x\x1b\\b\x1bXx\x1b\\c", "abc"),
    "a sequence in a sequence": ("a\x1b\x1b[0m]52;c;AAAA\x07b", "a]52;c;AAAA\ufffdb"),
    "a string ended by a new sequence": ("a\x1b]0;x\x1b[31mb", "ab"),
    "reset, charset": ("a\x1bcb\x1b(0c", "abc"),
    "lone escape at the end": ("a\x1b", "a"),
    "unfinished CSI": ("a\x1b[31", "a"),
    "NUL, DEL, vertical tab, form feed": ("a\0b\x7fc\x0bd\x0ce", "a\ufffdb\ufffdc\ufffdd\ufffde"),
    "line separators": ("a\u2028b\u2029c\x85d", "a\ufffdb\ufffdc\ufffdd"),
    "isolates, marks, byte order mark": ("\u2066a\u2069\u200e\u200f\u061c\ufeff", "\ufffda" + "\ufffd" * 5),
    "a lone surrogate": ("a\udc80b", "a\ufffdb"),
}
HARMLESS = ["", "plain", "tab\there", "zwei\nZeilen", "ü 漢字 😀 👩‍👩‍👧", "[31m] ]52;c;x \\", "%1b[2J \\x1b[2J"]


@pytest.mark.parametrize(("payload", "left"), PAYLOADS.values(), ids=PAYLOADS)
def test_only_the_printable_remainder_is_left(payload: str, left: str) -> None:
    assert clean(payload) == left
    assert clean_line(payload) == left


@pytest.mark.parametrize("payload", [payload for payload, _ in PAYLOADS.values()], ids=PAYLOADS)
def test_cleaning_twice_is_cleaning_once(payload: str) -> None:
    for function in (clean, clean_line):
        assert function(function(payload)) == function(payload)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays(text: str) -> None:
    assert clean(text) == text


def test_windows_line_ends_are_line_ends() -> None:
    assert clean("a\r\nb\r\n") == "a\nb\n"


def test_any_mixture_leaves_no_control_and_is_stable() -> None:
    seed = 20261122
    chance = random.Random(seed)
    parts = [
        "\x1b",
        "]",
        "[",
        "P",
        "\\",
        "\x07",
        "\x9b",
        "\x9c",
        "\x9d",
        "52;c;A",
        "0m",
        "\r",
        "\n",
        "\u202e",
        "a",
        " ",
        ";",
        "\x90",
    ]
    for _ in range(3000):
        text = "".join(chance.choices(parts, k=chance.randrange(1, 14)))
        once = clean(text)
        bad = [c for c in once if c not in "\t\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        assert not bad, (seed, text)
        assert clean(once) == once, (seed, text)


def test_a_line_is_one_line() -> None:
    assert clean_line("one\r\n") == "one"
    assert clean_line("one\ntwo\nthree\n") == "one two three"


def test_a_long_line_is_cut_and_the_rest_counted() -> None:
    assert clean_line("x" * MAX_LINE) == "x" * MAX_LINE
    cut = clean_line("x" * (MAX_LINE + 1000))
    assert len(cut) <= MAX_LINE
    kept = cut.index(" ")
    assert cut == "x" * kept + f" … {MAX_LINE + 1000 - kept} more characters"
    assert clean_line(cut) == cut
