"""`homeport restart | stop | start | scale`: how what is live runs. They wait until it is so."""

from __future__ import annotations

from collections.abc import Callable

from app.errors import BadInput
from app.inputs import NewScale
from app.model import Environment
from tui.grammar import Verbs, with_project
from tui.session import Session


def add(verbs: Verbs) -> None:
    with_project(verbs.add("restart", restart, "replace what runs by new copies, without dropping a request"))
    with_project(verbs.add("stop", stop, "stop serving, keeping everything"))
    with_project(verbs.add("start", start, "serve again after stop"))
    parser = verbs.add("scale", scale, "set how many of each process run")
    with_project(parser)
    parser.add_argument("counts", nargs="*", metavar="PROCESS=N", help="such as web=2 worker=1")


def restart(session: Session) -> None:
    """New copies are healthy before old ones end."""
    _carry_out(session, session.client.environments.restart, "restarting", "restarted")


def stop(session: Session) -> None:
    """The site answers 503 until `start`."""
    _carry_out(session, session.client.environments.stop, "stopping", "stopped")


def start(session: Session) -> None:
    """What was live when it was stopped."""
    _carry_out(session, session.client.environments.start, "starting", "started")


def scale(session: Session) -> None:
    """Raises BadInput for anything but PROCESS=N."""
    arguments = session.arguments
    words = list(arguments.counts)
    if arguments.project is not None and "=" in arguments.project:
        words.insert(0, arguments.project)
        arguments.project = None
    wanted = NewScale(scale=counts(words))
    slug = session.project()
    environment = session.client.environments.scale(slug, wanted)
    if session.out.json:
        session.out.emit(environment)
    session.out.say(f"{slug} runs " + " ".join(f"{name}={count}" for name, count in sorted(wanted.scale.items())))


def counts(words: list[str]) -> dict[str, int]:
    """`web=2 worker=1` as a mapping. Raises BadInput."""
    found: dict[str, int] = {}
    for word in words:
        name, equals, count = word.partition("=")
        if not (name and equals and count.isascii() and count.isdigit() and int(count) <= 100):
            raise BadInput(f"{word!r} is not PROCESS=N", hint="For example: homeport scale web=2. N is at most 100.")
        found[name] = int(count)
    if not found:
        raise BadInput("How many of which process?", hint="For example: homeport scale web=2")
    return found


def _carry_out(session: Session, verb: Callable[[str], Environment], doing: str, done: str) -> None:
    slug = session.project()
    session.out.note(f"{doing} {slug} …")
    environment = verb(slug)
    if session.out.json:
        session.out.emit(environment)
    session.out.say(f"{done} {slug}")
