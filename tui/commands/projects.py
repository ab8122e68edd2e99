"""`homeport projects`, and the short forms about one project: status, open, delete."""

from __future__ import annotations

from pathlib import Path

import msgspec

from app.errors import BadInput, Conflict
from app.inputs import NewProject, ProjectLine, ProjectPatch, ProjectStatus
from app.model import Project
from tui.grammar import Parser, Verbs, with_project
from tui.output import Output, Painted
from tui.session import Session


def add(verbs: Verbs) -> None:
    with_project(verbs.add("status", status, "show what is live, what runs and where it answers"))
    with_project(verbs.add("open", open_, "print a project's URL, and open it where there is a browser"))
    with_project(verbs.add("delete", delete, "delete a project and everything that runs for it", "Asks for its name first."))
    noun = verbs.noun("projects", "list, make and change projects")
    noun.add("list", index, "list the projects")
    parser = noun.add("create", create, "make a project")
    parser.add_argument("slug", metavar="NAME", help="lower-case letters, digits and dashes")
    _source_options(parser)
    with_project(noun.add("show", show, "show one project"))
    parser = noun.add("set", change, "change where a project's source comes from")
    with_project(parser)
    _source_options(parser)
    with_project(noun.add("deploy-key", deploy_key, "make a key that reads the git URL over ssh, and print its public half"))
    with_project(noun.add("delete", delete, "delete a project and everything that runs for it"))


def _source_options(parser: Parser) -> None:
    parser.add_argument("--git", metavar="URL", help="the repository to deploy from; empty for none")
    parser.add_argument("--ref", metavar="R", help="the branch to deploy from")
    parser.add_argument("--key-file", metavar="FILE", help="a private ssh key that may read it; `-` is stdin")


def index(session: Session) -> None:
    """One line each."""
    out = session.out
    lines = list(session.client.projects.index())
    for line in lines if out.json else ():
        out.emit(line)
    if not lines:
        out.note("No projects yet: `homeport deploy` in the folder of an application makes one.")
    elif not out.json:
        out.table(("PROJECT", "STATE", "LIVE", "URL"), [line_row(out, line) for line in lines])


def line_row(out: Output, line: ProjectLine) -> list[str]:
    """A project as a row of a table."""
    live = f"#{line.live_number}" if line.live_number is not None else "-"
    return [line.project.slug, out.mark(line.state).text, live, line.url]


def create(session: Session) -> None:
    """Raises AlreadyExists."""
    arguments = session.arguments
    new = NewProject(slug=arguments.slug, git_url=arguments.git, git_ref=arguments.ref, deploy_key=_key(session))
    _shown(session, session.client.projects.create(new), "made project")


def show(session: Session) -> None:
    """The project alone; `status` has what runs."""
    _shown(session, session.client.projects.show(session.project()), "project")


def change(session: Session) -> None:
    """Raises BadInput when nothing is to be changed."""
    arguments = session.arguments
    given = {"git_url": arguments.git, "git_ref": arguments.ref, "deploy_key": _key(session)}
    patch = {name: value or None for name, value in given.items() if value is not None}
    if not patch:
        raise BadInput("Nothing to change.", hint="Give --git, --ref or --key-file.")
    _shown(session, session.client.projects.change(session.project(), ProjectPatch(**patch)), "changed project")


def deploy_key(session: Session) -> None:
    """The public half is the data; what to do with it is advice."""
    project = session.client.projects.deploy_key(session.project())
    if session.out.json:
        session.out.emit(project)
    session.out.say(project.deploy_key or "")
    session.out.note("Add it to the repository as a deploy key that may read.")


def delete(session: Session) -> None:
    """Raises Conflict when the name was not typed, and when there is no terminal to type it on and no --yes."""
    slug = session.project()
    out = session.out
    session.client.projects.show(slug)
    if not out.yes:
        if not out.interactive:
            raise BadInput(f"deleting {slug} needs a yes", hint="Add --yes.")
        typed = out.prompt(f"This deletes {slug}, its deployments, env and domains, and stops it. Type its name: ").strip()
        if typed != slug:
            raise Conflict("That is not its name; nothing was deleted.", hint="Type the name of the project to delete it.")
    session.client.projects.remove(slug)
    session.links.forget(session.server, slug)
    if out.json:
        out.emit({"project": slug, "deleted": True})
    out.say(f"deleted {slug}")


def status(session: Session) -> None:
    """Everything at a glance."""
    found = session.client.projects.status(session.project())
    if session.out.json:
        session.out.emit(found)
        return
    out = session.out
    out.say(Painted(found.project.slug, "bold"), "  ", out.mark(found.state), f"  {found.url}")
    for line in details(found):
        out.say(f"  {line}")
    for url in found.urls:
        if url != found.url:
            out.say(f"  also {url}")
    if found.project.paused_because:
        out.note(f"automatic deploys are paused ({found.project.paused_because}); `homeport resume` lets them go on.")


def details(found: ProjectStatus) -> list[str]:
    """Live, latest, what runs, and what can be rolled back to. Pure."""
    lines = []
    if found.live is not None:
        commit = f" {found.live.commit[:10]}" if found.live.commit else ""
        lines.append(f"live     #{found.live.number}{commit} {found.live.message or ''}".rstrip())
    if found.latest is not None and (found.live is None or found.latest.number != found.live.number):
        cause = f": {found.latest.failure.cause}" if found.latest.failure else ""
        lines.append(f"latest   #{found.latest.number} {found.latest.status}{cause}")
    for replica in found.replicas:
        again = f", {replica.restarts} restarts" if replica.restarts else ""
        lines.append(f"runs     {replica.process}.{replica.index} {replica.state} (#{replica.number}{again})")
    if found.rollback_numbers:
        lines.append("rollback " + " ".join(f"#{number}" for number in found.rollback_numbers))
    return lines


def open_(session: Session) -> None:
    """The URL is the answer; the browser is a courtesy, only at a terminal of a desktop."""
    url = session.client.projects.status(session.project()).url
    if session.out.json:
        session.out.emit({"url": url})
    session.out.say(url)
    desktop = session.environ.get("DISPLAY") or session.environ.get("WAYLAND_DISPLAY")
    if desktop and session.out.interactive and url.startswith(("http://", "https://")):
        import webbrowser

        webbrowser.open(url)


def _key(session: Session) -> str | None:
    name = session.arguments.key_file
    if name is None:
        return None
    if name == "-":
        import sys

        return sys.stdin.read()
    try:
        return Path(name).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{name} cannot be read: {error}", hint="Give the file of a private ssh key.") from error


def _shown(session: Session, project: Project, word: str) -> None:
    out = session.out
    if out.json:
        out.emit(project)
        return
    out.say(f"{word} ", Painted(project.slug, "bold"))
    for name, value in msgspec.structs.asdict(project).items():
        if name in ("git_url", "git_ref", "deploy_key", "paused_because") and value:
            out.say(f"  {name.replace('_', ' '):<14} {value}")
