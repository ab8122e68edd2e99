"""`homeport`: every command of it. Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 not allowed, 5 conflict, 6 too slow,
7 the deploy failed, 8 partly done, 130 interrupted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from app.errors import (
    BadInput,
    Conflict,
    Forbidden,
    HomeportError,
    NotFound,
    StageFailed,
    TimedOut,
    Unauthorized,
    problem_of,
)
from tui.grammar import Parser, Verbs, suggestion
from tui.output import from_process
from tui.session import Ended, Interrupted, Session

EXIT_CODES: tuple[tuple[type[HomeportError], int], ...] = (
    (NotFound, 3),
    (Unauthorized, 4),
    (Forbidden, 4),
    (Conflict, 5),
    (TimedOut, 6),
    (StageFailed, 7),
)
MODULES = {
    "deploy": "deploy",
    "detect": "detect",
    "validate": "detect",
    "status": "projects",
    "open": "projects",
    "logs": "deployments",
    "rollback": "deployments",
    "cancel": "deployments",
    "resume": "deployments",
    "deployments": "deployments",
    "projects": "projects",
    "env": "env",
    "domains": "domains",
    "restart": "running",
    "stop": "running",
    "start": "running",
    "scale": "running",
    "delete": "projects",
    "doctor": "system",
    "events": "system",
    "completions": "system",
    "version": "system",
}
"""Command to the module in tui/commands that has it."""
INTERRUPTED = 130
BROKEN_PIPE = 141
OPTIONS = ("json", "quiet", "no_color", "yes")


def main() -> None:
    """The entry point."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Carry out one command line; everything that goes wrong becomes words on stderr and an exit code."""
    out = from_process({name: f"--{name.replace('_', '-')}" in argv for name in OPTIONS})
    session = Session(argparse.Namespace(), out)
    try:
        session.arguments = parser(verb_of(argv)).parse_args(argv)
        out = session.out = from_process({name: getattr(session.arguments, name, False) for name in OPTIONS})
        return session.arguments.run(session) or 0
    except Ended:
        return 7
    except HomeportError as error:
        return fail(session, error)
    except Interrupted:
        return INTERRUPTED
    except KeyboardInterrupt:
        out.error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def fail(session: Session, error: HomeportError) -> int:
    """Say `error` and what to do next; returns the exit code."""
    code = exit_code(error)
    said = error.cause.rstrip(".") + (_nearest_project(session, error) if code == 3 else "")
    if session.out.json:
        session.out.emit({"error": problem_of(error), "exit_code": code})
    session.out.error(f"homeport: {said}")
    if error.hint:
        session.out.error(f"  next: {error.hint}")
    return code


def exit_code(error: HomeportError) -> int:
    """The exit code of an error. A value that cannot be used is wrong usage; a repository that cannot be, is not."""
    if type(error) is BadInput:
        return 2
    if error.code in ("canceled", "lost-lease"):
        return 5
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def parser(verb: str | None = None) -> Parser:
    """The whole grammar; or, when `verb` is a command, only what that one needs: importing all of them takes its time."""
    common = _common()
    root = Parser(prog="homeport", description="Your own Render, on your own box.", parents=[common])
    root.set_defaults(run=overview)
    verbs = Verbs(root, common, "commands")
    names = [MODULES[verb]] if verb in MODULES else list(dict.fromkeys(MODULES.values()))
    for name in names:
        import_module(f"tui.commands.{name}").add(verbs)
    return root


def overview(session: Session) -> None:
    """`homeport` alone."""
    from tui.commands import overview as page

    page.run(session)


def verb_of(argv: Sequence[str]) -> str | None:
    """The command of a command line: its first word that is no option. Only to save time: argparse has the last word."""
    words = iter(argv)
    for word in words:
        if word in ("-h", "--help"):
            return None
        if word == "--server":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _common() -> Parser:
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    options = common.add_argument_group("everywhere")
    options.add_argument("--server", metavar="S", help="the control plane: an https URL or a socket path")
    options.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    options.add_argument("-q", "--quiet", action="store_true", help="no progress and no advice on stderr")
    options.add_argument("-y", "--yes", action="store_true", help="do not ask before deleting")
    options.add_argument("--no-color", action="store_true", help="no colour (NO_COLOR does the same)")
    return common


def _nearest_project(session: Session, error: HomeportError) -> str:
    if session.asked_for is None or session.asked_for not in error.cause:
        return ""
    try:
        return suggestion(session.asked_for, [line.project.slug for line in session.client.projects.index()])
    except HomeportError:
        return ""
