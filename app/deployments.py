"""Deployments: ask for one, follow it, cancel it, roll back, resume."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from app.appliance import Appliance
from app.deploy import source
from app.errors import BadInput, Conflict
from app.inputs import NewDeployment, NewRollback, Upload
from app.model import Deployment, Environment, EnvVar, Project, Trigger


def index(box: Appliance, slug: str, limit: int, before: int | None) -> list[Deployment]:
    """A project's deployments, newest first; numbers below `before` when it is given."""
    return box.store.deployments.page(box.store.projects.named(slug).id, limit, before)


def show(box: Appliance, slug: str, number: int) -> Deployment:
    """One deployment. Raises NotFound."""
    return box.store.deployments.numbered(box.store.projects.named(slug).id, number)


def upload(box: Appliance, slug: str, stream: BinaryIO, message: str, dirty: bool) -> Upload:
    """Take in a working folder as an archive. Raises SourceRefused and TooLarge; nothing of a refused one is kept."""
    commit, tree = source.accept_upload(box, box.store.projects.named(slug), stream, message, dirty)
    return Upload(commit=commit, tree=tree)


class Pin(msgspec.Struct, frozen=True):
    """What a deployment will take live: a commit that the project's store has, or can fetch."""

    trigger: Trigger
    commit: str
    ref: str | None


def pin(box: Appliance, slug: str, new: NewDeployment) -> Pin:
    """The commit of an upload, or the newest one of the git ref, asked of its host. Raises NotFound and SourceRefused."""
    project = box.store.projects.named(slug)
    if new.commit is not None:
        source.require(box, project, new.commit)
        return Pin("upload", new.commit, new.ref)
    return Pin("git", *source.pin(box, project, new.git_ref))


def create(box: Appliance, slug: str, new: NewDeployment, actor: str, pinned: Pin) -> Deployment:
    """Queue a deployment of what was pinned."""
    with box.store.write():
        # Read now, since pinning may have taken long enough for somebody to set a variable.
        environment = box.store.environments.of(box.store.projects.named(slug))
        deployment = box.store.deployments.create(
            environment,
            pinned.trigger,
            actor,
            commit=pinned.commit,
            ref=pinned.ref,
            message=new.message,
            dirty=new.dirty,
            env_version=environment.env_version,
            lose_env=new.lose_env,
        )
    box.wake()
    return deployment


def cancel(box: Appliance, slug: str, number: int, actor: str) -> Deployment:
    """Ask a deployment to stop. Raises Conflict when it has ended or takes traffic already."""
    deployment = box.store.deployments.ask_to_cancel(show(box, slug, number), actor)
    box.journal.spread_cancels()
    return deployment


def rollback(box: Appliance, slug: str, new: NewRollback, actor: str) -> Deployment:
    """Queue the return of a former live deployment: its image, its run settings, a copy of its env. Automatic deploys pause."""
    with box.store.write():
        project = box.store.projects.named(slug)
        environment = box.store.environments.of(project)
        target = _target(box, project, environment, new.number)
        env_version = _env_like(box, environment, target.env_version, actor)
        deployment = box.store.deployments.create(
            environment,
            "rollback",
            actor,
            commit=target.commit,
            tree=target.tree,
            ref=target.ref,
            message=target.message,
            plan=target.plan,
            image=target.image,
            env_version=env_version,
            rollback_to=target.number,
            lose_env=True,
        )
    box.journal.spread_cancels()
    box.wake()
    return deployment


def resume(box: Appliance, slug: str, actor: str) -> Project:
    """Let new commits deploy by themselves again, after a rollback paused them."""
    project = box.store.projects.named(slug)
    if project.paused_because is None:
        return project
    return box.store.projects.change(project, "project.resumed", actor, paused_because=None)


def log(box: Appliance, slug: str, number: int, start: int) -> tuple[list[str], int, bool]:
    """Lines of the log from index `start`, the index of the next, and whether no more can come."""
    deployment = show(box, slug, number)
    lines = box.journal.lines(deployment, start)
    return lines, start + len(lines), over(deployment) and not lines


def over(deployment: Deployment) -> bool:
    """Whether nothing about it changes any more: it ended, and when it went live, the one before has ended too."""
    return deployment.ended and (deployment.status != "live" or deployment.drained_at is not None)


def _target(box: Appliance, project: Project, environment: Environment, number: int | None) -> Deployment:
    kept = box.store.deployments.once_live(environment.id, box.settings.keep_deployments + 1)
    others = [deployment for deployment in kept if deployment.id != environment.live_deployment_id]
    names = ", ".join(f"#{deployment.number}" for deployment in others) or "none"
    hint = f"Kept for rollback: {names}. `homeport deployments list` shows all."
    if number is None:
        if not others:
            raise Conflict("there is no earlier deployment to roll back to", hint=hint)
        return others[0]
    target = box.store.deployments.numbered(project.id, number)
    if target.id == environment.live_deployment_id:
        raise Conflict(f"#{number} is live already", hint=hint)
    if target.status not in ("live", "retired"):
        raise BadInput(f"#{number} is {target.status}: it never served", hint=hint)
    if target.id not in {deployment.id for deployment in others}:
        raise BadInput(f"the image of #{number} is not kept any more", hint=hint)
    return target


def _env_like(box: Appliance, environment: Environment, number: int, actor: str) -> int:
    if number == environment.env_version:
        return number
    variables: dict[str, EnvVar] = {
        variable.key: variable for variable in box.store.env.version(environment.id, number).variables
    }
    return box.store.env.create(environment, variables, actor, action="env.rolled_back").number
