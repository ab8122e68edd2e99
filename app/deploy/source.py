"""The source stage: from a git URL, or from an uploaded folder, to the files of one commit."""

from __future__ import annotations

from pathlib import Path

from app.adapters.git import Commit, is_commit, parse_url
from app.adapters.tar import Readable
from app.appliance import Appliance
from app.errors import BadInput, NotFound
from app.model import Checkout, Deployment, Project

NO_SOURCE = "This project has no git URL, and no folder came with the deploy."


def check_out(box: Appliance, deployment: Deployment) -> Checkout:
    """Write the files of the deployment's commit to its work folder, fetching the commit if the store lacks it.

    Asked again after a crash it makes the folder anew. Raises SourceRefused, TooLarge, NotFound, Unavailable, TimedOut,
    Canceled.
    """
    if deployment.commit is None:
        raise BadInput(NO_SOURCE, hint="Give one with --git URL, or deploy a folder.")
    log = box.journal.log(deployment)
    repo = store_of(box, deployment.project_id)
    commit = _commit(box, deployment, repo, deployment.commit)
    log(said(deployment, commit))
    path = work_folder(box, deployment)
    with box.journal.intend(deployment, "work", path.name):
        for note in box.git.check_out(repo, deployment.commit, path):
            log(f"warning: {note}")
    return Checkout(path=path, commit=deployment.commit, tree=commit.tree, message=commit.message)


def pin(box: Appliance, project: Project, ref: str | None) -> tuple[str, str]:
    """The commit that `ref` (else the project's own, else the default branch) is at now, and the name it was found as.

    Raises as Git.pin does, and BadInput when the project has no git URL.
    """
    if project.git_url is None:
        raise BadInput(NO_SOURCE, hint=f"Give one with `homeport deploy --project {project.slug} --git URL`.")
    return box.git.pin(project.git_url, ref or project.git_ref, _key(box, project))


def accept_upload(box: Appliance, project: Project, stream: Readable, message: str, dirty: bool) -> tuple[str, str]:
    """Store an uploaded archive as a commit of the project; returns commit and tree. Raises SourceRefused, TooLarge."""
    return box.git.import_archive(store_of(box, project.id), stream, message, dirty)


def require(box: Appliance, project: Project, commit: str) -> None:
    """Raises NotFound unless the project's store holds `commit`: what is deployed was accepted before."""
    if not box.git.has(store_of(box, project.id), commit):
        shown = commit if is_commit(commit) else "like that"
        raise NotFound(f"{project.slug} has no upload {shown}.", hint="Upload the folder again: `homeport deploy PATH`.")


def store_of(box: Appliance, project_id: str) -> Path:
    """Where the project's commits are kept."""
    return box.settings.root / "repos" / f"{project_id}.git"


def work_folder(box: Appliance, deployment: Deployment) -> Path:
    """Where the files of a deployment are, until it ends."""
    return box.settings.root / "work" / deployment.id


def left_by(box: Appliance, deployment: Deployment) -> list[Path]:
    """Every folder of work that a deployment, or an attempt of it that died, has left: its name is the id, or begins with it."""
    work = work_folder(box, deployment)
    return sorted(work.parent.glob(f"{work.name}*"))


def said(deployment: Deployment, commit: Commit) -> str:
    """One line for people: `3f2c1aa "Fix typo" by Ada on main`. The log cleans it."""
    short = (deployment.commit or "")[:7]
    subject = f'{short} "{commit.subject}"'
    on = f" on {deployment.ref}" if deployment.ref and deployment.ref != deployment.commit else ""
    if deployment.trigger == "git":
        return f"{subject} by {commit.author}{on}"
    changes = ", with uncommitted changes" if deployment.dirty else ""
    return f"{subject} uploaded by {deployment.created_by}{on}{changes}"


def _commit(box: Appliance, deployment: Deployment, repo: Path, commit: str) -> Commit:
    try:
        return box.git.describe(repo, commit)
    except NotFound:
        project = box.store.projects.get(deployment.project_id)
        if project.git_url is None:
            raise
    box.journal.log(deployment)(f"fetching {commit[:7]} from {project.git_url}")
    box.git.fetch(repo, project.git_url, commit, _key(box, project), box.journal.cancel(deployment))
    return box.git.describe(repo, commit)


def _key(box: Appliance, project: Project) -> bytes | None:
    """What opens the project's URL: its deploy key over ssh, its credential over https."""
    url = parse_url(project.git_url or "", box.settings.local_repositories)
    secrets = box.store.projects.secrets(project)
    secret = secrets.get({"ssh": "deploy_key", "https": "git_credential"}.get(url.transport, ""))
    return secret.encode() if secret else None
