"""Projects: create, show, change, delete, and their state at a glance."""

from __future__ import annotations

import shutil

import msgspec

from app.adapters import edge, git
from app.appliance import Appliance
from app.deploy import routing
from app.errors import BadInput, Conflict, TimedOut
from app.inputs import NewProject, ProjectLine, ProjectPatch, ProjectStatus
from app.model import SLUG, Deployment, Environment, Project, Replica

DELETE_WAIT = 60.0
"""Seconds that a delete waits for a deployment under way to stop."""


def index(box: Appliance) -> list[ProjectLine]:
    """One line per project, by slug."""
    return [_line(box, project) for project in box.store.projects.all()]


def show(box: Appliance, slug: str) -> Project:
    """One project. Raises NotFound."""
    return box.store.projects.named(slug)


def create(box: Appliance, new: NewProject, actor: str) -> Project:
    """A project with its production environment and its generated host names, which Caddy knows at once."""
    if not SLUG.fullmatch(new.slug):
        raise BadInput(f"{new.slug!r} is no project name", hint="Use a-z, 0-9 and dashes, at most 54, starting with a letter.")
    source = _source(box, new.git_url, new.git_ref)
    with box.store.write():
        project = box.store.projects.create(box.store.organization, new.slug, actor, **source.columns)
        environment = box.store.environments.create(project, box.store.host, "production")
        for name in edge.generated_names(new.slug, box.settings):
            box.store.domains.add(environment, name, edge.tls_of(name, box.settings), generated=True, actor=actor)
        if source.credential:
            box.store.projects.set_secret(project, "git_credential", source.credential)
    routing.sync_edge(box)
    if new.deploy_key:
        return set_deploy_key(box, project, new.deploy_key, actor)
    return box.store.projects.get(project.id)


def change(box: Appliance, slug: str, patch: ProjectPatch, actor: str) -> Project:
    """Change the source. Raises BadInput or SourceRefused, and changes nothing then."""
    project = show(box, slug)
    url = project.git_url if patch.git_url is msgspec.UNSET else patch.git_url
    ref = project.git_ref if patch.git_ref is msgspec.UNSET else patch.git_ref
    source = _source(box, url, ref)
    with box.store.write():
        changed = box.store.projects.change(project, "project.changed", actor, **source.columns)
        if source.credential:
            box.store.projects.set_secret(project, "git_credential", source.credential)
    if isinstance(patch.deploy_key, str):
        return set_deploy_key(box, changed, patch.deploy_key, actor)
    return changed


def set_deploy_key(box: Appliance, project: Project, private: str, actor: str) -> Project:
    """Keep the private key that reads the git URL over ssh; its public half is shown from now on."""
    public = box.git.public_key(private)
    with box.store.write():
        box.store.projects.set_secret(project, "deploy_key", private)
        return box.store.projects.change(project, "project.deploy_key", actor, deploy_key=public)


def generate_deploy_key(box: Appliance, slug: str, actor: str) -> Project:
    """Make a key pair; the public half goes to the git host."""
    private, _ = box.git.generate_key()
    return set_deploy_key(box, show(box, slug), private.decode(), actor)


def remove(box: Appliance, slug: str, actor: str) -> None:
    """Delete a project: what it runs, what it stored, its host names. Raises TimedOut when a deployment does not stop."""
    project = show(box, slug)
    environment = box.store.environments.of(project)
    for deployment in box.store.deployments.unfinished(project.id):
        try:
            box.store.deployments.ask_to_cancel(deployment, actor)
        except Conflict:
            continue
    box.journal.spread_cancels()
    with box.journal.holding(environment.id, timeout=DELETE_WAIT) as free:
        if not free:
            raise TimedOut(f"a deployment of {slug} is still under way", hint="Try again when it has ended.")
        for runtime in box.runtimes.values():
            runtime.drain(environment.id, None, box.journal.quiet)
        routing.clear(box, environment.id)
        box.store.projects.remove(project, actor)
    routing.sync_edge(box)
    for runtime in box.runtimes.values():
        runtime.forget(project.id, environment.id)
    for folder in ("logs", "sites", "routes"):
        shutil.rmtree(box.settings.root / folder / (environment.id if folder == "routes" else project.id), ignore_errors=True)
    shutil.rmtree(box.settings.root / "repos" / f"{project.id}.git", ignore_errors=True)


def status(box: Appliance, slug: str) -> ProjectStatus:
    """What is stored and what is observed of a project."""
    project = show(box, slug)
    environment = box.store.environments.of(project)
    live = _live(box, environment)
    latest = next(iter(box.store.deployments.page(project.id, 1)), None)
    replicas = sorted((r for runtime in box.runtimes.values() for r in runtime.observe(environment.id)), key=place)
    domains = box.store.domains.of(environment.id)
    urls = tuple(edge.url_of(domain.name, domain.tls, box.settings) for domain in domains)
    once = box.store.deployments.once_live(environment.id, box.settings.keep_deployments + 1)
    return ProjectStatus(
        project=project,
        environment=environment,
        url=urls[0] if urls else "",
        urls=urls,
        state=state(environment, live, latest, tuple(replicas)),
        live=live,
        latest=latest,
        replicas=tuple(replicas),
        domains=tuple(domains),
        rollback_numbers=tuple(d.number for d in once if d.id != environment.live_deployment_id),
    )


def state(environment: Environment, live: Deployment | None, latest: Deployment | None, replicas: tuple[Replica, ...]) -> str:
    """One word: what a person wants to know first. A deployment that waits or failed does not hide what serves."""
    if latest is not None and not latest.ended:
        return "deploying"
    if environment.stopped:
        return "stopped"
    if live is None:
        return "failed" if latest is not None and latest.status == "failed" else "empty"
    ours = [replica for replica in replicas if replica.number == live.number]
    needed = live.image is not None and live.image.runtime != "static"
    if needed and (not ours or any(replica.state != "running" for replica in ours)):
        return "degraded"
    return "live"


def place(replica: Replica) -> tuple[int, str, int]:
    """The order in which replicas are shown."""
    return replica.number, replica.process, replica.index


def _live(box: Appliance, environment: Environment) -> Deployment | None:
    return box.store.deployments.get(environment.live_deployment_id) if environment.live_deployment_id else None


def _line(box: Appliance, project: Project) -> ProjectLine:
    environment = box.store.environments.of(project)
    live = _live(box, environment)
    latest = next(iter(box.store.deployments.page(project.id, 1)), None)
    domains = box.store.domains.of(environment.id)
    running = (
        ()
        if live is None
        else tuple(Replica(process="web", index=0, id="", address=None, state="running", number=live.number) for _ in range(1))
    )
    return ProjectLine(
        project=project,
        state=state(environment, live, latest, running),
        url=edge.url_of(domains[0].name, domains[0].tls, box.settings) if domains else "",
        live_number=live.number if live else None,
        latest_status=latest.status if latest else None,
        latest_at=latest.created_at if latest else None,
    )


class _Source(msgspec.Struct, frozen=True):
    columns: dict[str, str | None]
    credential: str | None


def _source(box: Appliance, url: str | None, ref: str | None) -> _Source:
    if url is None:
        if ref is not None:
            raise BadInput("a git ref without a git URL", hint="Give --git URL too.")
        return _Source({"git_url": None, "git_ref": None}, None)
    parsed = git.parse_url(url, box.settings.local_repositories)
    return _Source({"git_url": parsed.text, "git_ref": git.check_ref(ref) if ref else None}, parsed.credential)
