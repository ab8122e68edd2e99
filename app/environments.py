"""Environments: env vars, scale, restart, stop, start, and the applications' logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from app.adapters.edge_routes import UPSTREAMS
from app.adapters.process import Cancel
from app.appliance import Appliance
from app.deploy.converge import converge
from app.errors import BadInput, Conflict, EnvKeysLost
from app.inputs import EnvChanged, EnvPatch, NewScale
from app.model import ENV_KEY, Deployment, Environment, EnvVar, EnvVersion, Plan

VALUE_LIMIT = 64 * 1024
"""Bytes of one value: execve(2) takes at most 128 KiB for one string."""


def env(box: Appliance, slug: str, version: int | None, reveal: bool, actor: str) -> EnvVersion:
    """One version of the variables, by default the newest; masked, unless `reveal`, which leaves an Event."""
    environment = _environment(box, slug)
    found = box.store.env.version(environment.id, environment.env_version if version is None else version)
    if reveal:
        box.store.events.record("env.revealed", environment, actor, version=found.number)
        return found
    return masked(found)


def masked(version: EnvVersion) -> EnvVersion:
    """A version without its values."""
    variables = tuple(msgspec.structs.replace(variable, value=None) for variable in version.variables)
    return msgspec.structs.replace(version, variables=variables)


def change_env(box: Appliance, slug: str, patch: EnvPatch, actor: str) -> EnvChanged:
    """A new version, and unless told otherwise a deployment that carries it live. Nothing changes when nothing differs.

    Raises BadInput for a bad key, and EnvKeysLost when a replace would take keys away unasked.
    """
    refuse_bad(patch)
    with box.store.write():
        environment = _environment(box, slug)
        before = box.store.env.version(environment.id, environment.env_version)
        old = {variable.key: variable for variable in before.variables}
        new = merged(old, patch)
        added = tuple(sorted(set(new) - set(old)))
        removed = tuple(sorted(set(old) - set(new)))
        changed = tuple(sorted(key for key in set(new) & set(old) if new[key] != old[key]))
        if not (added or removed or changed):
            return EnvChanged(version=masked(before))
        if patch.replace and removed and not patch.lose_env:
            raise EnvKeysLost(f"{', '.join(removed)} would go away", keys=list(removed))
        version = box.store.env.create(environment, new, actor)
        touched = {key: variable for key, variable in {**old, **new}.items() if key in {*added, *removed, *changed}}
        deployment = _carry(box, environment, version.number, touched, actor) if patch.deploy else None
    if deployment is not None:
        box.wake()
    return EnvChanged(version=masked(version), added=added, changed=changed, removed=removed, deployment=deployment)


def merged(old: dict[str, EnvVar], patch: EnvPatch) -> dict[str, EnvVar]:
    """The variables after a patch. A key stays a build-time key once it is one."""
    base = {} if patch.replace else {key: value for key, value in old.items() if key not in patch.unset}
    new = {
        key: EnvVar(key=key, value=value, build=key in patch.build or (key in old and old[key].build))
        for key, value in patch.set.items()
    }
    marked = {key: msgspec.structs.replace(base[key], build=True) for key in patch.build if key in base and key not in new}
    return {**base, **marked, **new}


def refuse_bad(patch: EnvPatch) -> None:
    """Raises BadInput for a key or value that cannot be an environment variable."""
    for key, value in patch.set.items():
        if not ENV_KEY.fullmatch(key):
            raise BadInput(
                f"{key!r} is no name of a variable", hint="Letters, digits and underscores, not starting with a digit."
            )
        if key == "PORT" or key.startswith("HOMEPORT_"):
            raise BadInput(f"{key} is set by Homeport", hint="The port is [run] port in homeport.toml.")
        if "\0" in value or len(value.encode()) > VALUE_LIMIT:
            raise BadInput(f"the value of {key} is too long, or holds a NUL", hint=f"At most {VALUE_LIMIT >> 10} KiB of text.")


def needs_build(plan: Plan, variables: Iterable[EnvVar], keys: set[str]) -> bool:
    """Whether a change of `keys` must build anew: one is marked build-time in `variables`, or fits a pattern of the plan."""
    marked = {variable.key for variable in variables if variable.build}
    return any(key in marked or any(fnmatchcase(key, pattern) for pattern in plan.env_build) for key in keys)


def _carry(box: Appliance, environment: Environment, version: int, touched: dict[str, EnvVar], actor: str) -> Deployment | None:
    base = _newest(box, environment)
    if base is None:
        return None
    fields: dict[str, Any] = {name: getattr(base, name) for name in ("commit", "tree", "ref", "message", "dirty")}
    if base.plan and base.image and not needs_build(base.plan, touched.values(), set(touched)):
        fields |= {"plan": base.plan, "image": base.image}
    return box.store.deployments.create(environment, "env", actor, env_version=version, lose_env=True, **fields)


def _newest(box: Appliance, environment: Environment) -> Deployment | None:
    # What is on its way comes before what is live: else new variables would take an older commit live after it.
    coming = [d for d in box.store.deployments.unfinished(environment.project_id) if d.environment_id == environment.id]
    if coming:
        return max(coming, key=lambda deployment: deployment.number)
    return box.store.deployments.get(environment.live_deployment_id) if environment.live_deployment_id else None


def scale(box: Appliance, slug: str, new: NewScale, actor: str) -> Environment:
    """How many of each process. Raises BadInput for a process that the live deployment does not have."""
    environment = _environment(box, slug)
    live = box.store.live(environment)
    if live is None:
        raise Conflict("nothing is deployed yet", hint="`homeport deploy` first.")
    unknown = sorted(set(new.scale) - set(live.plan.processes))
    if unknown or live.image.runtime == "static":
        has = "it is a static site" if live.image.runtime == "static" else f"it has {', '.join(sorted(live.plan.processes))}"
        raise BadInput(
            f"no process {', '.join(unknown) or 'to scale'}: {has}",
            hint="Processes come from the Procfile or [run.processes].",
        )
    if new.scale.get("web", 1) == 0 or new.scale.get("web", 1) > UPSTREAMS:
        raise BadInput(f"web runs 1 to {UPSTREAMS} times on the docker runtime", hint="`homeport stop` stops a project.")
    with box.store.write():
        scale = {**_environment(box, slug).scale, **new.scale}
        changed = box.store.environments.change(environment, "environment.scaled", actor, scale=scale)
    return _carried_out(box, changed)


def restart(box: Appliance, slug: str, actor: str) -> Environment:
    """New replicas of the same deployment beside the old ones, then traffic to them: nothing is dropped."""
    with box.store.write():
        environment = _running(box, slug)
        changed = box.store.environments.change(environment, "environment.restarted", actor, restarts=environment.restarts + 1)
    return _carried_out(box, changed)


def stop(box: Appliance, slug: str, actor: str) -> Environment:
    """End every replica; the host names answer 503 and say why, until `start` or the next deploy."""
    environment = _environment(box, slug)
    if environment.live_deployment_id is None:
        raise Conflict("nothing is deployed yet", hint="`homeport deploy` first.")
    return _carried_out(box, box.store.environments.change(environment, "environment.stopped", actor, stopped=True))


def start(box: Appliance, slug: str, actor: str) -> Environment:
    """Run again what was stopped."""
    environment = _environment(box, slug)
    if environment.live_deployment_id is None:
        raise Conflict("nothing is deployed yet", hint="`homeport deploy` first.")
    return _carried_out(box, box.store.environments.change(environment, "environment.started", actor, stopped=False))


def logs(box: Appliance, slug: str, tail: int, follow: bool, cancel: Cancel) -> Iterator[str]:
    """What the applications wrote: the last `tail` lines, then, if asked, what comes."""
    environment = _environment(box, slug)
    live = box.store.live(environment)
    if live is None:
        raise Conflict("nothing is deployed yet", hint="`homeport logs P --build N` shows the log of a deployment.")
    return box.runtimes[live.image.runtime].logs(environment.id, tail, follow, cancel)


def _environment(box: Appliance, slug: str) -> Environment:
    return box.store.environments.of(box.store.projects.named(slug))


def _running(box: Appliance, slug: str) -> Environment:
    environment = _environment(box, slug)
    if environment.live_deployment_id is None or environment.stopped:
        raise Conflict("nothing runs", hint="`homeport start` or `homeport deploy` first.")
    return environment


def _carried_out(box: Appliance, environment: Environment) -> Environment:
    # While a deployment is under way, its worker carries the new state out when it has ended.
    converge(box, environment)
    return box.store.environments.get(environment.id)
