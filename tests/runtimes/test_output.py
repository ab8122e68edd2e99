"""Output of applications: lines out of chunks, merged by time, a bounded queue that counts what it drops."""

from __future__ import annotations

from app.runtimes import output
from app.runtimes.output import Line
from app.text import MAX_LINE

AT = "2026-11-22T16:17:08.123456789Z"


def test_a_line_is_cleaned_and_headed() -> None:
    line = output.read(f"{AT} \x1b[31mred\x07\x00", "web.0")
    assert line.at == AT
    assert str(line) == "web.0 | red\ufffd\ufffd"


def test_lines_are_cut_out_of_chunks() -> None:
    chunks = iter([b"on", b"e\ntw", b"o\n\nthr\xff", b"ee"])
    assert list(output.lines_of(chunks)) == ["one", "two", "", "thr\ufffdee"]


def test_a_line_without_end_does_not_grow_for_ever() -> None:
    lines = list(output.lines_of(iter([b"x" * 1000] * 100)))
    assert max(len(line) for line in lines) <= MAX_LINE + 1000
    assert sum(len(line) for line in lines) == 100_000


def test_lines_sort_by_time_then_source() -> None:
    lines = [Line("2026-01-01T00:00:02", "a", "3"), Line("2026-01-01T00:00:01", "b", "2"), Line("2026-01-01T00:00:01", "a", "1")]
    assert [line.text for line in sorted(lines)] == ["1", "2", "3"]


def test_a_slow_reader_loses_the_oldest_lines_and_is_told_how_many() -> None:
    feed = output._Feed()
    for number in range(output.QUEUE + 5):
        feed.put(Line(AT, "web.0", str(number)))
    lines = feed.take(0)
    assert lines[0].text == "… 5 lines dropped: this reader is too slow"
    assert (lines[1].text, lines[-1].text, len(lines)) == ("5", str(output.QUEUE + 4), output.QUEUE + 1)
    assert feed.take(0) == []


def test_seconds_of_an_engines_time() -> None:
    assert output.second_of("1970-01-01T00:01:05.999999999Z") == 65
    assert output.second_of("") == 0
