"""The grammar of the CLI: one argparse tree, made by the command modules, with global options in every place."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from app.errors import BadInput

if TYPE_CHECKING:
    from tui.session import Session

Run = Callable[["Session"], int | None]


class Parser(argparse.ArgumentParser):
    """argparse that suggests the word that was meant, and does not accept shortened options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": Formatter, **kwargs})

    def error(self, message: str) -> NoReturn:
        raise BadInput(message, hint=f"`{self.prog} --help` shows how it is used.")

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401
        if action.choices is not None and value not in action.choices:
            noun = "command" if isinstance(action, argparse._SubParsersAction) else str(action.metavar or action.dest)
            raise BadInput(
                f"there is no {noun} {value!r}{suggestion(str(value), list(action.choices))}",
                hint=f"`{self.prog} --help` lists what there is.",
            )


class Formatter(argparse.HelpFormatter):
    """A width that does not depend on the terminal: help is also a page of the documentation."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            # argparse forgets that commands are indented once more, and breaks the line after the longest one.
            self._action_max_length += 2


class Verbs:
    """A place to hang commands: the root, or a noun."""

    def __init__(self, parser: Parser, common: Parser, title: str) -> None:
        self._common = common
        self._places = parser.add_subparsers(title=title, metavar="COMMAND", parser_class=Parser)

    def add(self, name: str, run: Run | None, summary: str, details: str = "") -> Parser:
        """A command that `run` carries out; None for a noun, whose verbs follow."""
        text = f"{summary[0].upper()}{summary[1:]}. {details}".strip()
        parser: Parser = self._places.add_parser(name, help=summary, description=text, parents=[self._common])
        parser.set_defaults(run=run or _help_of(parser))
        return parser

    def noun(self, name: str, summary: str, details: str = "") -> Verbs:
        """A command that only has verbs below it."""
        return Verbs(self.add(name, None, summary, details), self._common, "commands")


def with_project(parser: argparse.ArgumentParser, *, positional: bool = True) -> None:
    """The project as an argument that this folder may know, and as an option."""
    if positional:
        parser.add_argument("project", nargs="?", metavar="P", help="the project; this folder's when left out")
    parser.add_argument("-p", "--project", dest="project_option", metavar="P", help="the project; this folder's when left out")


def suggestion(word: str, known: list[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known word is near."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def number_of(text: str) -> int:
    """A deployment's number, `12` or `#12`."""
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise BadInput(f"{text!r} is no deployment number", hint="`homeport deployments list` shows the numbers.")
    return int(digits)


def _help_of(parser: Parser) -> Run:
    def run(session: Session) -> int:
        session.out.document(parser.format_help())
        return 0

    return run
