"""The one word that says how a project is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.model import Deployment, Environment, Image, Replica
from app.projects import state
from tests.nouns import IMAGE, PLAN

ENVIRONMENT = Environment(id="e", organization_id="o", project_id="p", host_id="h", slug="production", created_at="now")
STOPPED = msgspec.structs.replace(ENVIRONMENT, stopped=True)
STATIC = Image(runtime="static", tag="t", digest="d")


def deployment(status: Any, image: Image | None = IMAGE) -> Deployment:
    return Deployment(
        id="d",
        organization_id="o",
        project_id="p",
        environment_id="e",
        number=2,
        status=status,
        trigger="git",
        created_at="now",
        created_by="ada",
        plan=PLAN,
        image=image,
    )


def replica(number: int = 2, state: Any = "running") -> Replica:
    return Replica(process="web", index=0, id="r", address=None, state=state, number=number)


LIVE = deployment("live")


@pytest.mark.parametrize(
    ("environment", "live", "latest", "replicas", "expected"),
    [
        (ENVIRONMENT, None, None, (), "empty"),
        (ENVIRONMENT, None, deployment("queued"), (), "deploying"),
        (ENVIRONMENT, None, deployment("failed"), (), "failed"),
        (ENVIRONMENT, None, deployment("canceled"), (), "empty"),
        (ENVIRONMENT, LIVE, LIVE, (replica(),), "live"),
        (ENVIRONMENT, LIVE, deployment("image"), (replica(),), "deploying"),
        (ENVIRONMENT, LIVE, deployment("failed"), (replica(),), "live"),
        (ENVIRONMENT, LIVE, LIVE, (), "degraded"),
        (ENVIRONMENT, LIVE, LIVE, (replica(1),), "degraded"),
        (ENVIRONMENT, LIVE, LIVE, (replica(), replica(state="restarting")), "degraded"),
        (ENVIRONMENT, LIVE, LIVE, (replica(), replica(1, "exited")), "live"),
        (ENVIRONMENT, deployment("live", STATIC), LIVE, (), "live"),
        (STOPPED, LIVE, LIVE, (), "stopped"),
        (STOPPED, LIVE, deployment("rollout"), (), "deploying"),
    ],
)
def test_state(
    environment: Environment,
    live: Deployment | None,
    latest: Deployment | None,
    replicas: tuple[Replica, ...],
    expected: str,
) -> None:
    assert state(environment, live, latest, replicas) == expected
