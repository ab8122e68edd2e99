"""`homeport deploy`: this folder, or a commit of a git repository, goes live."""

from __future__ import annotations

from pathlib import Path

from app.errors import AlreadyExists, BadInput, EnvKeysLost, NotFound, StageFailed
from app.inputs import NewDeployment, NewProject, ProjectPatch
from app.model import SLUG, Deployment
from tui.following import follow, report
from tui.grammar import Verbs
from tui.session import Session, slug_of


def add(verbs: Verbs) -> None:
    parser = verbs.add(
        "deploy",
        deploy,
        "take a folder or a git ref live",
        "The working folder is sent without what .gitignore and .dockerignore name. The first deploy makes the project, named"
        " like the folder; later ones know it. Ctrl-C lets go, and the deploy goes on.",
    )
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="the folder (default: this one)")
    parser.add_argument("-p", "--project", dest="project_option", metavar="P", help="the project; made when there is none")
    parser.add_argument("--git", metavar="URL", help="deploy from this repository instead of a folder, now and later")
    parser.add_argument("--ref", metavar="R", help="the branch, tag or commit of the project's repository")
    parser.add_argument("-m", "--message", metavar="TEXT", help="a line about this deploy")
    parser.add_argument("--lose-env", action="store_true", help="yes, env keys that the live deployment has may go away")
    parser.add_argument("--detach", action="store_true", help="do not wait for the end")


def deploy(session: Session) -> int:
    """Raises what the server refuses; exit code 7 when the deploy fails."""
    arguments = session.arguments
    if arguments.git or arguments.ref:
        slug, new = _from_git(session)
    else:
        slug, new = _from_folder(session)
    deployment = session.client.deployments.create(slug, new)
    return conclude(session, slug, deployment, new)


def conclude(session: Session, slug: str, deployment: Deployment, new: NewDeployment | None = None) -> int:
    """Follow `deployment` unless told to detach. When env keys would go away, ask, and deploy `new` again with a yes."""
    out = session.out
    if session.arguments.detach:
        if out.json:
            out.emit(deployment)
        out.say(f"#{deployment.number} {deployment.status}")
        out.note(f"`homeport logs {slug} --build {deployment.number} -f` follows it.")
        return 0
    ended = follow(session, slug, deployment)
    failure = ended.failure
    if new is not None and failure is not None and failure.code == EnvKeysLost.code and not new.lose_env:
        if out.ask(f"{failure.cause}. Deploy without them?"):
            agreed = NewDeployment(
                commit=new.commit, git_ref=new.git_ref, ref=new.ref, message=new.message, dirty=new.dirty, lose_env=True
            )
            return conclude(session, slug, session.client.deployments.create(slug, agreed), agreed)
        _tell(session, slug, ended)
        return 5
    report(session, slug, ended)
    return 0


def _tell(session: Session, slug: str, ended: Deployment) -> None:
    try:
        report(session, slug, ended)
    except StageFailed:
        return


def _from_folder(session: Session) -> tuple[str, NewDeployment]:
    from app.archive import Archive, survey

    arguments = session.arguments
    folder = Path(arguments.path).expanduser().resolve()
    found = survey(folder)
    slug = _claimed(session, folder)
    archive = Archive(found, compress=session.server.startswith("https://"))
    message = arguments.message or found.message or None
    upload = session.client.deployments.upload(slug, archive, message, found.dirty)
    changed = ", with changes that are not committed" if found.dirty and found.commit else ""
    session.out.note(f"sent {archive.files} files, {amount(archive.bytes)}{changed}")
    new = NewDeployment(commit=upload.commit, ref=found.branch, message=message, dirty=found.dirty, lose_env=arguments.lose_env)
    return slug, new


def amount(size: int) -> str:
    """Bytes for people."""
    if size < 1024:
        return f"{size} bytes"
    power = min((size.bit_length() - 1) // 10, 3)
    return f"{size / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def _claimed(session: Session, folder: Path) -> str:
    """The project of `folder`: the one named, the one it was deployed to, or one of its own name, asked for when it exists."""
    named = session.arguments.project_option
    known = session.links.exactly(folder, session.server)
    slug: str = named or known or slug_of(folder.name)
    exists = _ensured(session, slug)
    if exists and not named and not known:
        question = f"There is a project {slug!r} already, and this folder was never deployed to it. Deploy into it?"
        if not session.out.ask(question):
            raise AlreadyExists(
                f"there is a project {slug!r} already, and this folder was never deployed to it",
                hint=f"`--project {slug}` deploys into it, another --project makes a new one.",
            )
    session.links.remember(folder, session.server, slug)
    return slug


def _ensured(session: Session, slug: str, git_url: str | None = None, git_ref: str | None = None) -> bool:
    """Whether the project existed already; it does afterwards."""
    try:
        session.client.projects.show(slug)
    except NotFound:
        if not SLUG.fullmatch(slug):
            raise BadInput(f"{slug!r} is no project name", hint="Lower-case letters, digits and dashes, at most 54.") from None
        session.client.projects.create(NewProject(slug=slug, git_url=git_url, git_ref=git_ref))
        session.out.note(f"made project {slug}")
        return False
    return True


def _from_git(session: Session) -> tuple[str, NewDeployment]:
    arguments = session.arguments
    folder = Path(arguments.path).expanduser().resolve()
    named = arguments.project_option or session.links.exactly(folder, session.server)
    if arguments.git is None:
        slug = named or session.project()
    else:
        slug = named or slug_of(arguments.git.rstrip("/").removesuffix(".git").rpartition("/")[2])
        _point(session, slug, known=bool(named))
    return slug, NewDeployment(git_ref=arguments.ref, message=arguments.message, lose_env=arguments.lose_env)


def _point(session: Session, slug: str, *, known: bool) -> None:
    """Let the project read from --git. One that reads from elsewhere is changed when it was named, never by a guess."""
    url = session.arguments.git
    if not _ensured(session, slug, url, session.arguments.ref):
        return
    before = session.client.projects.show(slug).git_url
    if before == url:
        return
    if not known and not session.out.ask(f"Project {slug!r} reads from {before or 'uploads'}. Let it read from {url}?"):
        raise AlreadyExists(f"there is a project {slug!r} already", hint=f"`--project {slug}` says that it is meant.")
    session.client.projects.change(slug, ProjectPatch(git_url=url))
