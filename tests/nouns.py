"""Nouns for tests: a store in a folder, a project with its environment, deployments at any point of the path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.appliance import Appliance
from app.journal import Journal
from app.model import Deployment, Environment, Failure, Image, Plan, Project
from app.settings import Settings
from app.store import Store

PLAN = Plan(bundle="dockerfile", language="docker", port=8080)
IMAGE = Image(runtime="docker", tag="hp/web:1", digest="sha256:" + "a" * 64)
COMMIT = "c0ffee" + "0" * 34
FAILURE = Failure(stage="plan", code="not-recognised", cause="c", hint="h")


def open_store(folder: Path) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    return Store(Settings(data=str(folder)), owner_login="ada")


def new_project(store: Store, slug: str = "web") -> Project:
    """A project with its production environment."""
    project = store.projects.create(store.organization, slug, "ada")
    store.environments.create(project, store.host, "production")
    return project


def new_environment(store: Store, slug: str = "web") -> Environment:
    """The production environment of a new project."""
    return store.environments.of(new_project(store, slug))


def queued(store: Store, environment: Environment, trigger: Any = "upload", **fields: Any) -> Deployment:
    return store.deployments.create(environment, trigger, "ada", **{"commit": COMMIT, **fields})


def claimed(store: Store, environment: Environment, trigger: Any = "upload", **fields: Any) -> Deployment:
    """A deployment that a worker has."""
    wanted = queued(store, environment, trigger, **fields)
    found = store.deployments.claim("worker")
    assert found is not None
    assert found.id == wanted.id
    return found


def live(store: Store, environment: Environment, **fields: Any) -> Deployment:
    """A deployment that went the whole path, and whose predecessor has ended."""
    deployment = claimed(store, environment, **fields)
    store.deployments.planned(deployment, PLAN)
    store.deployments.built(deployment, IMAGE)
    store.deployments.make_live(deployment)
    store.deployments.drained(deployment, None)
    return store.deployments.get(deployment.id)


def actions(store: Store) -> list[str]:
    """What happened, oldest first."""
    return [event.action for event in store.events.after(0, limit=1000)]


def status(store: Store, deployment: Deployment) -> str:
    """Where a deployment is by now."""
    return store.deployments.get(deployment.id).status


def usage_rows(store: Store) -> list[dict[str, Any]]:
    """What was metered, oldest first."""
    with store.write() as db:
        return list(db.query("SELECT * FROM usage ORDER BY id"))


def box_over(store: Store, data: Path, **adapters: Any) -> Appliance:
    """An appliance with a real store and journal; what is not given is not there."""
    settings = Settings(data=str(data))
    parts: dict[str, Any] = dict.fromkeys(("catalog", "docker", "bases", "git", "caddy", "disk", "prober"))
    journal = Journal(settings, store)
    return Appliance(**{**parts, "settings": settings, "store": store, "journal": journal, "runtimes": {}, **adapters})
