"""`homeport doctor | events | completions | version`: about the box and about this program."""

from __future__ import annotations

from app.errors import HomeportError
from app.model import Event
from tui.grammar import Verbs
from tui.session import Session


def add(verbs: Verbs) -> None:
    verbs.add(
        "doctor",
        doctor,
        "check the box: what is wrong, why it matters and what mends it",
        "Exit code 1 when something is an error.",
    )
    parser = verbs.add("events", events, "show what happened: who, what, when")
    parser.add_argument("-p", "--project", dest="project_option", metavar="P", help="of one project only")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--after", type=int, default=0, metavar="ID", help="only what came after this event")
    parser.add_argument("-n", "--limit", type=int, metavar="COUNT", help="at most so many")
    parser = verbs.add(
        "completions", completions, "print completions for a shell", "For bash: source <(homeport completions bash)"
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    verbs.add("version", version, "print the versions of this program and of the server")


def doctor(session: Session) -> int:
    """0 when nothing is an error; warnings are told and do no harm."""
    out = session.out
    checks = session.client.system.doctor()
    for check in checks:
        if out.json:
            out.emit(check)
        out.say(out.mark(check.level), f"  {check.name}: {check.finding}")
        if not check.ok and check.why:
            out.say(f"    why: {check.why}")
        if not check.ok and check.fix:
            out.say(f"    fix: {check.fix}")
    return 1 if any(check.level == "error" and not check.ok for check in checks) else 0


def events(session: Session) -> None:
    """Oldest first."""
    arguments, out = session.arguments, session.out
    found = session.client.events.index(arguments.project_option, arguments.after, arguments.limit, arguments.follow)
    for event in found:
        if out.json:
            out.emit(event)
        out.say(worded(event))


def worded(event: Event) -> str:
    """One event on one line."""
    detail = " ".join(f"{name}={value}" for name, value in event.detail.items())
    return f"{event.id}  {event.at}  {event.actor}  {event.action}  {event.target}  {detail}".rstrip()


def completions(session: Session) -> None:
    """The script is made from the grammar itself."""
    import shtab

    from tui.cli import parser

    session.out.document(shtab.complete(parser(), session.arguments.shell))


def version(session: Session) -> None:
    """A server that does not answer is no reason to fail."""
    from importlib import metadata

    try:
        ours = metadata.version("homeport")
    except metadata.PackageNotFoundError:
        ours = "unknown"
    try:
        theirs: str | None = session.client.system.health().version
    except HomeportError:
        theirs = None
    if session.out.json:
        session.out.emit({"homeport": ours, "server": theirs})
    session.out.say(f"homeport {ours}, server {theirs or 'not reached'}")
