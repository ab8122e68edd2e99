"""Makes what is what should be, in one environment: level-triggered, by the same runtime and the same switch as a deploy."""

from __future__ import annotations

from app.appliance import Appliance
from app.deploy import rollout, routing
from app.errors import HomeportError
from app.model import Desired, Environment, Replica, Running


def converge(box: Appliance, environment: Environment) -> list[str]:
    """Repair the difference between the store and the world. Returns what was done, in words; empty when nothing was.

    Leaves alone an environment whose deployment is under way.
    """
    with box.journal.holding(environment.id) as free:
        if not free or box.store.deployments.active(environment.id):
            return []
        return repair(box, environment.id)


def repair(box: Appliance, environment_id: str) -> list[str]:
    """`converge` for who holds the environment already, whatever is under way: what is live serves, and nothing else runs."""
    environment = box.store.environments.get(environment_id)
    desired = box.store.live(environment)
    if desired is None:
        return _nothing(box, environment)
    done = _stopped(box, desired) if desired.stopped else _serving(box, desired)
    box.store.usage.meter(box.store.deployments.get(desired.deployment_id), desired.replicas)
    return done


def restore(box: Appliance, environment_id: str) -> None:
    """`repair` before and after a deployment, whose end it must not change: what cannot be done now is left to reconcile."""
    try:
        repair(box, environment_id)
    except HomeportError as error:
        box.journal.warn(environment_id, f"left to the next reconcile: {error.cause}")


def _nothing(box: Appliance, environment: Environment) -> list[str]:
    extra = [replica for runtime in box.runtimes.values() for replica in runtime.observe(environment.id)]
    if extra:
        _drain(box, environment.id, None)
    if routing.serving(box, environment.id) is not None:
        routing.clear(box, environment.id)
    return [f"removed {len(extra)} replicas that nothing wants"] if extra else []


def _stopped(box: Appliance, desired: Desired) -> list[str]:
    done = []
    if routing.stop(box, desired):
        done.append(f"{desired.name} answers that it is stopped")
    if any(runtime.observe(desired.environment_id) for runtime in box.runtimes.values()):
        _drain(box, desired.environment_id, None)
        done.append(f"{desired.name} stopped")
    return done


def _serving(box: Appliance, desired: Desired) -> list[str]:
    runtime = box.runtimes[desired.image.runtime]
    before = _replicas(box, desired)
    running = in_place(desired, before) or runtime.start(
        desired, rollout.env_of(box, desired), box.journal.said(desired), box.journal.no_cancel
    )
    pointed = routing.point(box, desired, running)
    runtime.settle(desired)
    _drain(box, desired.environment_id, desired)
    repaired = [f"{desired.name} points at #{desired.number}"] if pointed else []
    if {r.id for r in before} != {r.id for r in _replicas(box, desired)}:
        repaired.append(f"{desired.name} runs {', '.join(runtime.names(desired))}")
    return repaired


def in_place(desired: Desired, replicas: tuple[Replica, ...]) -> Running | None:
    """What runs, when all of what `desired` wants does; else None. A replica that crashed is the engine's to restart."""
    places = {(process.name, index) for process in desired.processes for index in range(process.replicas)}
    ours = [r for r in replicas if r.number == desired.number and r.restarts_handled == desired.restarts]
    alive = [r for r in ours if (r.process, r.index) in places and r.state in ("running", "restarting")]
    web = sorted((r for r in alive if r.process == "web"), key=lambda replica: replica.index)
    if not places or len(alive) != len(places) or any(replica.address is None for replica in web):
        return None
    addresses = tuple(replica.address for replica in web if replica.address)
    return Running(deployment_id=desired.deployment_id, number=desired.number, runtime="docker", addresses=addresses)


def _replicas(box: Appliance, desired: Desired) -> tuple[Replica, ...]:
    return tuple(replica for runtime in box.runtimes.values() for replica in runtime.observe(desired.environment_id))


def _drain(box: Appliance, environment_id: str, keep: Desired | None) -> None:
    for name, runtime in box.runtimes.items():
        runtime.drain(environment_id, keep if keep and name == keep.image.runtime else None, box.journal.quiet)
