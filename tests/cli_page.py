"""docs/cli.md, made of the two grammars: `make docs` writes it, and a test keeps it current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from app.cli import parser as homeportd
from tui.cli import parser as homeport

EVERYWHERE = "everywhere"
HEAD = """\
# Commands

`homeport` is for people; `homeportd` is the server's own command. Both are described here as they describe themselves
(`--help`); this page is written by `make docs`.

Exit codes: 0 well, 1 an error, 2 wrong usage, 3 not found, 4 not allowed, 5 a conflict, 6 it took too long, 7 the deploy
failed, 8 partly done, 130 interrupted. What a program reads is on stdout, what a person reads is on stderr; `--json` prints
one object per line.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_program(homeport()), *_program(homeportd())])


def _program(root: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {root.prog}\n"
    yield f"{root.description}\n"
    shared = [action for group in root._action_groups if group.title == EVERYWHERE for action in group._group_actions]
    if shared:
        yield "With every command:\n"
        yield from _options(shared)
    for command, summary in leaves(root):
        yield f"### `{usage(command)}`\n"
        description = command.description or f"{summary[:1].upper()}{summary[1:]}."
        yield f"{description}\n"
        own = [action for action in command._actions if action.dest not in {other.dest for other in shared}]
        yield from _options(own)


def leaves(parser: argparse.ArgumentParser, summary: str = "") -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Every command that has none below it, with its summary."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield parser, summary
    for action in below:
        summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, child in action.choices.items():
            if name in summaries:
                yield from leaves(child, summaries[name])


def usage(command: argparse.ArgumentParser) -> str:
    """The command with its positional arguments."""
    words = [command.prog]
    for action in command._actions:
        if not action.option_strings:
            name = str(action.metavar or action.dest)
            text = f"{name}…" if action.nargs in ("*", "+", argparse.REMAINDER) else name
            words.append(f"[{text}]" if action.nargs in ("?", "*", argparse.REMAINDER) else text)
    return " ".join(words)


def _options(actions: list[argparse.Action]) -> Iterator[str]:
    lines = [
        f"* `{_spelling(action)}`: {(action.help or '').replace('%%', '%')}"
        for action in actions
        if action.dest != "help" and action.help != argparse.SUPPRESS
    ]
    if lines:
        yield "\n".join(lines) + "\n"


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = f" {action.metavar or action.dest.upper()}" if action.nargs != 0 else ""
    return ", ".join(action.option_strings) + value


if __name__ == "__main__":
    sys.stdout.write(page())
