"""`homeport` alone: how the projects are, what to do next, and where help is."""

from __future__ import annotations

from app.errors import Unavailable
from app.inputs import ProjectLine
from tui.commands.projects import line_row
from tui.session import Session

HELP = "`homeport --help` lists the commands, `homeport COMMAND --help` explains one."


def run(session: Session) -> None:
    """Says so, instead of failing, when no server answers: this is the first thing that a new user types."""
    out = session.out
    try:
        lines = list(session.client.projects.index())
    except Unavailable as error:
        out.note(error.cause)
        out.note(f"next: {error.hint}")
        out.note(HELP)
        return
    if out.json:
        for line in lines:
            out.emit(line)
        return
    if lines:
        out.table(("PROJECT", "STATE", "LIVE", "URL"), [line_row(out, line) for line in lines])
    out.note(f"next: {next_step(lines)}")
    out.note(HELP)


def next_step(lines: list[ProjectLine]) -> str:
    """One sentence: the thing that most wants doing."""
    if not lines:
        return "`homeport deploy` in the folder of an application takes it live."
    for line in lines:
        if line.state in ("degraded", "failed"):
            return f"{line.project.slug} is {line.state}: `homeport status {line.project.slug}` says why."
    for line in lines:
        if line.state == "empty":
            return f"{line.project.slug} has never been deployed: `homeport deploy --project {line.project.slug}`."
    return "`homeport deploy` in a project's folder takes a change live."
