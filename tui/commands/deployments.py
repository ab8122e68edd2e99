"""`homeport deployments`, cancel, rollback, resume, and logs: what was attempted, and what it said."""

from __future__ import annotations

from app.errors import Conflict
from app.inputs import NewRollback
from app.model import STAGES, Deployment
from tui.commands.deploy import conclude
from tui.following import ending, served
from tui.grammar import Parser, Verbs, number_of, with_project
from tui.output import Painted
from tui.session import Session


def add(verbs: Verbs) -> None:
    parser = verbs.add("logs", logs, "show a project's output, or the log of one deploy")
    with_project(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--build", metavar="N", help="the log of deployment N instead")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="LINES", help="how many lines back (default: 100)")
    parser = verbs.add(
        "rollback",
        rollback,
        "bring an earlier deployment back: image, settings and env",
        "Automatic deploys pause until `homeport resume`.",
    )
    _with_number(parser, "the deployment to bring back (default: the one before)")
    parser.add_argument("--detach", action="store_true", help="do not wait for the end")
    _with_number(verbs.add("cancel", cancel, "stop a deploy that is not live yet"), "the deployment (default: the one under way)")
    with_project(verbs.add("resume", resume, "let automatic deploys go on after a rollback"))
    noun = verbs.noun("deployments", "list and show deployments")
    parser = noun.add("list", index, "list the newest deployments")
    with_project(parser)
    parser.add_argument("-n", "--limit", type=int, default=20, metavar="COUNT", help="how many (default: 20)")
    _with_number(noun.add("show", show, "show one deployment"), "the deployment (default: the newest)")


def _with_number(parser: Parser, text: str) -> None:
    with_project(parser)
    parser.add_argument("number", nargs="?", metavar="N", help=text)


def _number(session: Session) -> int | None:
    """N, also when it is the only argument: a project's name begins with a letter."""
    arguments = session.arguments
    if arguments.number is None and arguments.project is not None and arguments.project.removeprefix("#").isdigit():
        arguments.project, arguments.number = None, arguments.project
    return None if arguments.number is None else number_of(arguments.number)


def index(session: Session) -> None:
    """The newest first."""
    out = session.out
    found = list(session.client.deployments.index(session.project(), session.arguments.limit))
    for deployment in found if out.json else ():
        out.emit(deployment)
    if not found:
        out.note("Never deployed: `homeport deploy` does it.")
    elif not out.json:
        rows = [
            [f"#{one.number}", out.mark(one.status).text, one.trigger, (one.commit or "")[:10], one.created_at, one.message or ""]
            for one in found
        ]
        out.table(("N", "STATUS", "BY", "COMMIT", "AT", "MESSAGE"), rows)


def show(session: Session) -> None:
    """One deployment with its timings, and why it failed."""
    number = _number(session)
    slug = session.project()
    deployment = session.client.deployments.show(slug, number) if number else _newest(session, slug)
    out = session.out
    if out.json:
        out.emit(deployment)
        return
    out.say(Painted(f"{slug} #{deployment.number}", "bold"), "  ", out.mark(deployment.status), served(deployment))
    for name, value in _facts(deployment):
        out.say(f"  {name:<8} {value}")
    if deployment.failure is not None:
        for line in ending(slug, deployment)[1:]:
            out.say(*line)


def _facts(deployment: Deployment) -> list[tuple[str, str]]:
    commit = (deployment.commit or "")[:10] + (" with changes" if deployment.dirty else "")
    facts = [
        ("commit", commit),
        ("ref", deployment.ref or ""),
        ("message", deployment.message or ""),
        ("by", f"{deployment.created_by}, {deployment.created_at}"),
        ("bundle", deployment.plan.bundle if deployment.plan else ""),
        ("image", deployment.image.tag if deployment.image else ""),
        ("env", f"version {deployment.env_version}"),
        ("brings", f"#{deployment.rollback_to} back" if deployment.rollback_to else ""),
        ("cause", f"{deployment.failure.cause} (at {deployment.failure.stage})" if deployment.failure else ""),
    ]
    timed = [(stage, f"{deployment.stage_seconds[stage]:.1f} s") for stage in STAGES if stage in deployment.stage_seconds]
    return [(name, value) for name, value in facts if value] + timed


def logs(session: Session) -> None:
    """Lines as they are, cleaned of what would move the cursor."""
    arguments, out = session.arguments, session.out
    slug = session.project()
    if arguments.build is not None:
        number = number_of(arguments.build)
        if not arguments.follow:
            for line in session.client.deployments.log(slug, number).split("\n")[:-1]:
                _line(session, line)
            return
        found = session.client.deployments.follow(slug, number)
    else:
        found = session.client.environments.logs(slug, arguments.lines, arguments.follow)
    for kind, value in found:
        if kind == "log" and isinstance(value, str):
            _line(session, value)
        elif kind == "connection" and isinstance(value, str):
            out.note(value)


def _line(session: Session, line: str) -> None:
    if session.out.json:
        session.out.emit({"line": line})
    session.out.say(line)


def cancel(session: Session) -> None:
    """Raises Conflict when nothing is under way."""
    number = _number(session)
    slug = session.project()
    if number is None:
        newest = _newest(session, slug)
        if newest.ended:
            raise Conflict(f"nothing of {slug} is under way: #{newest.number} is {newest.status}")
        number = newest.number
    deployment = session.client.deployments.cancel(slug, number)
    if session.out.json:
        session.out.emit(deployment)
    session.out.say(f"#{number} {'canceled' if deployment.status == 'canceled' else 'is being canceled'}")


def rollback(session: Session) -> int:
    """Like deploy: exit code 7 when it fails."""
    number = _number(session)
    slug = session.project()
    return conclude(session, slug, session.client.deployments.rollback(slug, NewRollback(number=number)))


def resume(session: Session) -> None:
    """Nothing is deployed by this itself."""
    project = session.client.projects.resume(session.project())
    if session.out.json:
        session.out.emit(project)
    session.out.say(f"automatic deploys of {project.slug} go on")


def _newest(session: Session, slug: str) -> Deployment:
    newest = next(session.client.deployments.index(slug, 1), None)
    if newest is None:
        raise Conflict(f"{slug} has never been deployed", hint="`homeport deploy` does it.")
    return newest
