"""The pure pieces of the CLI: .env files, folder links, widths, stages, the grammar's shortcuts."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from app.errors import BadInput, Canceled, ConfigInvalid, Conflict, Forbidden, HomeportError, NotFound, StageFailed, TimedOut
from app.model import Deployment, Failure
from tui.cli import MODULES, exit_code, parser, verb_of
from tui.dotenv import parse
from tui.following import ending, result, served
from tui.links import Links
from tui.output import Output, Painted, cells, cut, padded
from tui.track import Progress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("A=1", {"A": "1"}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# no\n\n  export A = x y  # why\n", {"A": "x y"}),
        ("A=a#b", {"A": "a#b"}),
        ("A=\nB=#c\nC=''", {"A": "", "B": "", "C": ""}),
        ("A='x #y\\n$Z'", {"A": "x #y\\n$Z"}),
        (r'A="x \"y\"\n\$Z \q" # c', {"A": 'x "y"\n$Z \\q'}),
        ('KEY="-----BEGIN\nabc=\n-----END"\nB=1', {"KEY": "-----BEGIN\nabc=\n-----END", "B": "1"}),
        ("A=$(rm -rf /) ${B}", {"A": "$(rm -rf /) ${B}"}),
        ("A=1\nA=2", {"A": "2"}),
        ("exported=1", {"exported": "1"}),
    ],
)
def test_env_files(text: str, expected: dict[str, str]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nB", "line 2 is not KEY=value"),
        ("A-B=1", "line 1 'A-B' is no name of a variable"),
        ("\n\nA='x", "line 3 has a quote that is never closed"),
        ("A='x' y", "line 1 has something after the closing quote"),
        ("=1", "line 1 is not KEY=value"),
        ("export A B=1", "line 1 is not KEY=value"),
    ],
)
def test_env_files_that_are_wrong_name_the_line_and_never_the_value(text: str, said: str) -> None:
    with pytest.raises(BadInput) as raised:
        parse(text)
    assert raised.value.cause == said


def test_links_know_folders_by_server(tmp_path: Path) -> None:
    links = Links({"XDG_STATE_HOME": str(tmp_path / "state")})
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    links.remember(tmp_path / "a", "s1", "shop")
    links.remember(tmp_path / "a", "s2", "other")

    assert (links.exactly(tmp_path / "a", "s1"), links.nearest(below, "s2")) == ("shop", "other")
    assert (links.exactly(below, "s1"), links.nearest(tmp_path, "s1")) == (None, None)
    links.forget("s1", "shop")
    assert (links.nearest(below, "s1"), links.nearest(below, "s2")) == (None, "other")
    assert [path.name for path in (tmp_path / "state/homeport").iterdir()] == ["projects.json"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"/x": 3}', "\udcff"])
def test_links_that_cannot_be_read_are_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "homeport/projects.json"
    file.parent.mkdir()
    file.write_text(content, errors="surrogateescape")
    links = Links({"XDG_STATE_HOME": str(tmp_path)})

    assert links.nearest(tmp_path, "s") is None
    links.remember(tmp_path, "s", "shop")
    assert links.exactly(tmp_path, "s") == "shop"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("漢字漢字", 5, "漢字…"),
        ("漢字漢字", 4, "漢…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("", 0, ""),
    ],
)
def test_cutting_by_columns(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected
    assert cells(cut(text, width)) <= width


class Screen(io.StringIO):
    """A terminal, as far as an Output asks."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_every_way_to_write_cleans_what_it_writes() -> None:
    screen = Screen()
    out = Output(stdout=screen, stderr=screen, stdin=screen, environ={"TERM": "xterm", "LANG": "C.UTF-8"}, options={})
    bad = "a\x1b]0;t\x07b\x9b2Jc\rd\u202ee\nf"

    out.say(bad, Painted(bad, "red"))
    out.note(bad)
    out.error(Painted(bad, "dim"))
    out.table(["H"], [[bad]])
    out.draw(0, [[bad, Painted(bad, "dim")]])
    out.prompt(bad)
    out.say(out.mark(bad))
    ours = re.sub(r"\x1b\[\d+m", "", screen.getvalue())

    assert ours.replace("\n", "").isprintable()
    assert ours.count("abc") == 9


def test_padding_by_columns() -> None:
    assert [padded(text, 4) for text in ("a", "漢", "abcde")] == ["a   ", "漢  ", "abcde"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HomeportError("x"), 1),
        (ConfigInvalid("x"), 1),
        (BadInput("x"), 2),
        (NotFound("x"), 3),
        (Forbidden("x"), 4),
        (Conflict("x"), 5),
        (Canceled("x"), 5),
        (TimedOut("x"), 6),
        (StageFailed("x", failure_code="y", hint=""), 7),
    ],
)
def test_exit_codes(error: HomeportError, code: int) -> None:
    assert exit_code(error) == code


@pytest.mark.parametrize(
    ("argv", "verb"),
    [
        ([], None),
        (["deploy"], "deploy"),
        (["--json", "-q", "logs", "deploy"], "logs"),
        (["--server", "deploy", "status"], "status"),
        (["--server=x", "status"], "status"),
        (["--help", "deploy"], None),
    ],
)
def test_the_verb_is_found_without_the_grammar(argv: list[str], verb: str | None) -> None:
    assert verb_of(argv) == verb


def test_the_table_of_modules_is_the_grammar() -> None:
    def commands(verb: str | None = None) -> set[str]:
        return {name for action in parser(verb)._actions for name in (action.choices or {})}

    assert commands() == set(MODULES)
    for verb in MODULES:
        assert verb in commands(verb), verb


def deployment(**changes: object) -> Deployment:
    values: dict[str, object] = {
        "id": "d",
        "organization_id": "o",
        "project_id": "p",
        "environment_id": "e",
        "number": 3,
        "status": "queued",
        "trigger": "upload",
        "created_at": "",
        "created_by": "ada",
    }
    return Deployment(**{**values, **changes})  # type: ignore[arg-type]


class Recorded:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def stage(self, name: str) -> None:
        self.calls.append(("stage", name))

    def ended(self, name: str, word: str, seconds: float) -> None:
        self.calls.append(("ended", name, word, seconds))

    def log(self, line: str) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


def test_progress_tells_each_end_once() -> None:
    shown = Recorded()
    progress = Progress(shown)
    failure = Failure(stage="image", code="x", cause="c", hint="h")
    for state in (
        deployment(status="source"),
        deployment(status="source", stage_seconds={"source": 0.5}),
        deployment(status="plan", stage_seconds={"source": 0.5}),
        deployment(status="image", stage_seconds={"source": 0.5, "plan": 0.1}),
        deployment(status="failed", failure=failure, stage_seconds={"source": 0.5, "plan": 0.1, "image": 2.0}),
    ):
        progress.see(state)

    assert shown.calls == [
        ("stage", "source"),
        ("ended", "source", "ok", 0.5),
        ("stage", "plan"),
        ("ended", "plan", "ok", 0.1),
        ("stage", "image"),
        ("ended", "image", "failed", 2.0),
    ]


def test_progress_of_a_cancel_and_of_a_drain() -> None:
    shown = Recorded()
    progress = Progress(shown)
    progress.see(deployment(status="image"))
    progress.see(deployment(status="canceled", stage_seconds={"image": 1.0}))
    drained = Recorded()
    Progress(drained).see(deployment(status="live"))

    assert shown.calls[1:] == [("ended", "image", "canceled", 1.0)]
    assert drained.calls == [("stage", "drain")]


def test_last_words() -> None:
    failure = Failure(stage="health", code="x", cause="404", hint="mend it", log_tail=("l",), exit_code=1)
    failed = deployment(status="failed", failure=failure)

    assert served(deployment()) == ""
    assert served(deployment(dropped=2)) == " dropped 2 requests"
    assert served(deployment(dropped=0, probes=9, longest_wait_ms=3)) == " dropped 0 of 9 requests, longest wait 3 ms"
    assert [[str(getattr(part, "text", part)) for part in line] for line in ending("shop", failed)] == [
        ["#3 failed", " at health: 404"],
        ["  | l"],
        ["  exit code 1"],
        ["  next: mend it"],
    ]
    assert [part for line in ending("s", deployment(status="superseded")) for part in line][1] == (
        ": a newer commit took its place"
    )
    assert result("shop", deployment(status="live"), "u") == {
        "project": "shop",
        "number": 3,
        "status": "live",
        "url": "u",
        "dropped": None,
        "longest_wait_ms": None,
        "seconds": {},
    }
