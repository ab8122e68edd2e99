"""The rollout stage: the candidate up and answering beside what serves; and, once it is live, the end of the one before."""

from __future__ import annotations

from contextlib import ExitStack

import msgspec

from app.appliance import Appliance
from app.deploy import traffic
from app.errors import StageFailed
from app.model import Deployment, Desired, Image, Running

DEFAULT_PORT = 8080


def start(box: Appliance, deployment: Deployment, image: Image) -> Running:
    """Every replica of the deployment up, each web one healthy when asked directly; nothing is routed to them yet."""
    box.store.deployments.built(deployment, image)
    desired = wanted(box, deployment, image)
    warm_up(box, desired)
    runtime = box.runtimes[image.runtime]
    with ExitStack() as intents:
        for name in runtime.names(desired):
            intents.enter_context(box.journal.intend(deployment, "replica", name))
        return runtime.start(desired, env_of(box, desired), box.journal.log(deployment), box.journal.cancel(deployment))


def warm_up(box: Appliance, desired: Desired) -> None:
    """Where something serves, let the prober ask already: at the switch its slowest requests are in flight, and count."""
    environment = box.store.environments.get(desired.environment_id)
    if environment.live_deployment_id is not None and not environment.stopped:
        host = traffic.local_host(box, environment.id)
        box.prober.start(environment.id, host, desired.plan.health.path or "/")


def kept(deployment: Deployment) -> Image:
    """The image that a rollback brings back. Raises StageFailed when the deployment has none."""
    if deployment.image is None:
        raise StageFailed("there is no image to bring back", failure_code="image-gone", hint="Deploy the commit again.")
    return deployment.image


def retire(box: Appliance, live: Deployment) -> Deployment:
    """End what served before: drain it, stop it, say what the prober saw, and let go of images that rollback no longer needs."""
    environment = box.store.environments.get(live.environment_id)
    desired = box.store.desired(environment, live)
    log = box.journal.log(live)
    box.store.usage.meter(live, desired.replicas)
    box.runtimes[desired.image.runtime].settle(desired)
    for name, runtime in box.runtimes.items():
        runtime.drain(environment.id, desired if name == desired.image.runtime else None, log)
    seen = box.prober.stop(environment.id)
    if seen is not None:
        log(f"dropped {seen.dropped} of {seen.probes} requests, longest wait {seen.longest_wait_ms} ms")
    box.store.deployments.drained(live, seen)
    collect(box, live)
    return box.store.deployments.get(live.id)


def collect(box: Appliance, live: Deployment) -> None:
    """Remove the project's images but those of the last deployments that were live, and of those under way."""
    kept_ones = box.store.deployments.once_live(live.environment_id, box.settings.keep_deployments + 1)
    tags = {other.image.tag for other in [*kept_ones, *box.store.deployments.unfinished(live.project_id)] if other.image}
    for runtime in box.runtimes.values():
        runtime.collect(live.project_id, tags)


def wanted(box: Appliance, deployment: Deployment, image: Image) -> Desired:
    """What should run when `deployment` is the one that serves; a deploy starts an environment that was stopped."""
    environment = msgspec.structs.replace(box.store.environments.get(deployment.environment_id), stopped=False)
    planned = msgspec.structs.replace(box.store.deployments.get(deployment.id), image=image)
    return box.store.desired(environment, planned)


def env_of(box: Appliance, desired: Desired) -> dict[str, str]:
    """The variables that the application runs with: defaults, then the environment's own, then what Homeport says."""
    return {
        **desired.plan.env,
        **box.store.env.values(desired.environment_id, desired.env_version),
        "PORT": str(desired.plan.port or DEFAULT_PORT),
        "HOMEPORT_PROJECT": desired.project,
        "HOMEPORT_ENVIRONMENT": desired.environment,
        "HOMEPORT_DEPLOYMENT": str(desired.number),
    }
