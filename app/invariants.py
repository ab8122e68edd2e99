"""What must always hold, as one pure function over facts: tests run it after every fault, `doctor` on customers' machines.

The numbers are those of our fault matrix. I1 (nothing dropped) needs a witness from outside and is the tests' own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import msgspec

from app.model import Deployment, Desired, Environment, Replica


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says, and what the world shows, at one moment without a deploy under way."""

    environments: tuple[Environment, ...]
    deployments: tuple[Deployment, ...]
    desired: dict[str, Desired]
    """By environment id; only where something is live."""
    serving: dict[str, int | None]
    """By environment id: the number that the switch names."""
    replicas: dict[str, tuple[Replica, ...]]
    """By environment id."""
    expected: dict[str, int]
    """By environment id: how many replicas should run."""
    carried: Collection[str] = ()
    """Ids of deployments that a living worker holds."""
    open_intents: tuple[str, ...] = ()
    work_folders: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()
    """Names of containers and networks that carry our label and belong to no environment."""
    edge_differs: tuple[str, ...] = ()


class Violation(msgspec.Struct, frozen=True):
    """One broken invariant, in words."""

    invariant: str
    text: str


def broken(facts: Facts, acknowledged: Collection[str] = ()) -> list[Violation]:
    """Every violation; `acknowledged` are ids that callers were told were stored."""
    return [
        *(Violation("I2", text) for text in stuck(facts)),
        *(Violation("I3", f"{name} was acknowledged and is not stored") for name in lost(facts, acknowledged)),
        *(Violation("I5", text) for text in doubled(facts)),
        *(Violation("I6", text) for text in different(facts)),
        *(Violation("I7", text) for text in orphans(facts)),
    ]


def stuck(facts: Facts) -> list[str]:
    """I2: a deployment is terminal, queued behind one that is carried, or carried."""
    busy = {d.environment_id for d in facts.deployments if d.id in facts.carried}
    return [
        f"#{d.number} is {d.status}, and nobody carries it"
        for d in facts.deployments
        if not d.ended and d.id not in facts.carried and not (d.status == "queued" and d.environment_id in busy)
    ]


def lost(facts: Facts, acknowledged: Collection[str]) -> list[str]:
    """I3: what was answered is stored."""
    stored = {deployment.id for deployment in facts.deployments}
    return [name for name in acknowledged if name not in stored]


def doubled(facts: Facts) -> list[str]:
    """I5: one number per project, one live deployment per environment, one replica per place."""
    numbers = Counter((d.project_id, d.number) for d in facts.deployments)
    found = [f"number #{number} of {project} exists {n} times" for (project, number), n in numbers.items() if n > 1]
    live = Counter(d.environment_id for d in facts.deployments if d.status == "live")
    found += [f"{environment} has {n} live deployments" for environment, n in live.items() if n > 1]
    for environment, replicas in facts.replicas.items():
        places = Counter((r.number, r.process, r.index) for r in replicas)
        found += [f"{environment} runs {place} {n} times" for place, n in places.items() if n > 1]
    return found


def different(facts: Facts) -> list[str]:
    """I6: the switch names the live deployment, its replicas run, Caddy's configuration is ours."""
    found = [f"Caddy's configuration: {text}" for text in facts.edge_differs]
    for environment in facts.environments:
        desired = facts.desired.get(environment.id)
        serving = facts.serving.get(environment.id)
        if desired is None or desired.stopped:
            if serving is not None:
                what = f"nothing is live in {environment.id}" if desired is None else f"{desired.name} is stopped"
                found.append(f"{what}, and the switch names {serving}")
            continue
        if serving != desired.number:
            found.append(f"{desired.name} is live with #{desired.number}, and the switch names {serving}")
        running = [r for r in facts.replicas.get(environment.id, ()) if r.number == desired.number and r.state == "running"]
        if len(running) != facts.expected[environment.id]:
            found.append(f"{desired.name} should run {facts.expected[environment.id]} replicas, and {len(running)} run")
    return found


def orphans(facts: Facts) -> list[str]:
    """I7: nothing of ours is there without a row that wants it."""
    found = [f"{name} belongs to no environment" for name in facts.stray]
    found += [f"intent {name} was never settled" for name in facts.open_intents]
    found += [f"work folder {name} belongs to no deployment" for name in facts.work_folders]
    for environment, replicas in facts.replicas.items():
        desired = facts.desired.get(environment)
        number = None if desired is None or desired.stopped else desired.number
        wanted = "nothing should run" if number is None else f"#{number} is live"
        found += [f"a replica of #{r.number} runs in {environment}, where {wanted}" for r in replicas if r.number != number]
    return found
