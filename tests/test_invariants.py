"""The invariants: a box in order breaks none, and each disorder is named with exactly one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.invariants import Facts, Violation, broken
from app.model import Deployment, Desired, Environment, Image, Plan, Replica

ENVIRONMENT = Environment(
    id="env_1",
    organization_id="org_1",
    project_id="prj_1",
    host_id="hst_1",
    slug="production",
    created_at="now",
    live_deployment_id="dep_2",
)
EMPTY = msgspec.structs.replace(ENVIRONMENT, id="env_2", project_id="prj_2", live_deployment_id=None)
DESIRED = Desired(
    organization_id="org_1",
    project_id="prj_1",
    project="web",
    environment_id="env_1",
    environment="production",
    host_id="hst_1",
    deployment_id="dep_2",
    number=2,
    image=Image(runtime="docker", tag="t", digest="d"),
    env_version=0,
    plan=Plan(bundle="b", language="l"),
    processes=(),
    domains=(),
    stopped=False,
    restarts=0,
)


def deployment(number: int, status: Any, **fields: Any) -> Deployment:
    values: dict[str, Any] = {"id": f"dep_{number}", "project_id": "prj_1", "environment_id": "env_1", **fields}
    return Deployment(
        organization_id="org_1", number=number, status=status, trigger="git", created_at="now", created_by="ada", **values
    )


def replica(number: int, index: int = 0, state: Any = "running") -> Replica:
    return Replica(process="web", index=index, id=f"r{number}{index}", address="a:1", state=state, number=number)


WELL = Facts(
    environments=(ENVIRONMENT, EMPTY),
    deployments=(deployment(1, "retired"), deployment(2, "live")),
    desired={"env_1": DESIRED},
    serving={"env_1": 2, "env_2": None},
    replicas={"env_1": (replica(2), replica(2, 1)), "env_2": ()},
    expected={"env_1": 2},
)


def but(**changes: Any) -> Callable[[], Facts]:
    return lambda: msgspec.structs.replace(WELL, **changes)


STOPPED = {"env_1": msgspec.structs.replace(DESIRED, stopped=True)}
DISORDERS: dict[str, tuple[Callable[[], Facts], str, str]] = {
    "nobody carries it": (
        but(deployments=(*WELL.deployments, deployment(3, "image"))),
        "I2",
        "#3 is image, and nobody carries it",
    ),
    "queued for ever": (
        but(deployments=(*WELL.deployments, deployment(3, "queued"))),
        "I2",
        "#3 is queued, and nobody carries it",
    ),
    "a number twice": (
        but(deployments=(*WELL.deployments, deployment(1, "failed", id="dep_x"))),
        "I5",
        "number #1 of prj_1 exists 2 times",
    ),
    "two live": (
        but(deployments=(deployment(1, "live"), deployment(2, "live"))),
        "I5",
        "env_1 has 2 live deployments",
    ),
    "a replica twice": (
        but(replicas={"env_1": (replica(2), replica(2, 1), replica(2, 1, "exited"))}),
        "I5",
        "env_1 runs (2, 'web', 1) 2 times",
    ),
    "the switch names another": (
        but(serving={"env_1": 1}),
        "I6",
        "web-production is live with #2, and the switch names 1",
    ),
    "the switch names nothing": (
        but(serving={}),
        "I6",
        "web-production is live with #2, and the switch names None",
    ),
    "the switch names something where nothing is live": (
        but(serving={"env_1": 2, "env_2": 1}),
        "I6",
        "nothing is live in env_2, and the switch names 1",
    ),
    "the switch names a stopped one": (
        but(desired=STOPPED, replicas={}),
        "I6",
        "web-production is stopped, and the switch names 2",
    ),
    "one replica is missing": (
        but(replicas={"env_1": (replica(2),)}),
        "I6",
        "web-production should run 2 replicas, and 1 run",
    ),
    "one replica has exited": (
        but(replicas={"env_1": (replica(2), replica(2, 1, "exited"))}),
        "I6",
        "web-production should run 2 replicas, and 1 run",
    ),
    "Caddy was edited": (
        but(edge_differs=("a foreign route",)),
        "I6",
        "Caddy's configuration: a foreign route",
    ),
    "a stray": (but(stray=("hp-web-1",)), "I7", "hp-web-1 belongs to no environment"),
    "an intent": (but(open_intents=("route",)), "I7", "intent route was never settled"),
    "a work folder": (but(work_folders=("dep_9",)), "I7", "work folder dep_9 belongs to no deployment"),
    "an old replica": (
        but(replicas={"env_1": (replica(2), replica(2, 1), replica(1))}),
        "I7",
        "a replica of #1 runs in env_1, where #2 is live",
    ),
    "a replica where nothing is live": (
        but(replicas={"env_1": WELL.replicas["env_1"], "env_2": (replica(1),)}),
        "I7",
        "a replica of #1 runs in env_2, where nothing should run",
    ),
    "a replica of a stopped one": (
        but(desired=STOPPED, replicas={"env_1": (replica(2),)}, serving={}),
        "I7",
        "a replica of #2 runs in env_1, where nothing should run",
    ),
}


@pytest.mark.parametrize(("facts", "invariant", "text"), DISORDERS.values(), ids=DISORDERS)
def test_each_disorder_is_one_sentence(facts: Callable[[], Facts], invariant: str, text: str) -> None:
    assert broken(facts()) == [Violation(invariant, text)]


ORDERS: dict[str, Callable[[], Facts]] = {
    "as it is": but(),
    "carried": but(deployments=(*WELL.deployments, deployment(3, "image")), carried={"dep_3"}),
    "queued behind one that is carried": but(
        deployments=(*WELL.deployments, deployment(3, "image"), deployment(4, "queued")), carried={"dep_3"}
    ),
    "stopped": but(desired=STOPPED, replicas={"env_1": ()}, serving={}),
    "all ends": but(
        deployments=(*WELL.deployments, deployment(3, "failed"), deployment(4, "canceled"), deployment(5, "superseded"))
    ),
    "the same number in another project": but(
        deployments=(*WELL.deployments, deployment(1, "failed", id="dep_x", project_id="prj_2", environment_id="env_2"))
    ),
}


@pytest.mark.parametrize("facts", ORDERS.values(), ids=ORDERS)
def test_what_is_in_order_breaks_nothing(facts: Callable[[], Facts]) -> None:
    assert broken(facts(), ["dep_1", "dep_2"]) == []


def test_queued_behind_another_environments_deployment_is_stuck() -> None:
    carried = deployment(3, "image", environment_id="env_2")
    facts = but(deployments=(*WELL.deployments, carried, deployment(4, "queued")), carried={"dep_3"})()
    assert broken(facts) == [Violation("I2", "#4 is queued, and nobody carries it")]


def test_what_was_acknowledged_and_is_not_stored_is_lost() -> None:
    assert broken(WELL, ["dep_2", "dep_7"]) == [Violation("I3", "dep_7 was acknowledged and is not stored")]


def test_disorders_are_said_together_in_order() -> None:
    facts = msgspec.structs.replace(WELL, serving={"env_1": 1}, stray=("x",), deployments=(deployment(2, "route"),))
    assert [violation.invariant for violation in broken(facts, ["dep_9"])] == ["I2", "I3", "I6", "I7"]
