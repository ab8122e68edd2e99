"""The other half of reliability: at boot and every 30 s, what is becomes what should be, and every difference is said."""

from __future__ import annotations

import logging
import shutil

from app.appliance import Appliance
from app.deploy import routing
from app.deploy.converge import converge
from app.errors import HomeportError

logger = logging.getLogger("homeport")


def reconcile(box: Appliance) -> list[str]:
    """One pass over the box. Returns what was repaired; what fails in one environment does not stop the others."""
    done: list[str] = []
    for step in (edge, environments, endings, strays, leftovers):
        try:
            done += step(box)
        except HomeportError as error:
            logger.error("reconcile: %s. %s", error.cause, error.hint)
    for line in done:
        logger.info("reconcile: %s", line)
    return done


def edge(box: Appliance) -> list[str]:
    """Caddy runs, and its configuration is the one that the store renders; foreign edits are said, then put back."""
    return routing.repair_edge(box)


def environments(box: Appliance) -> list[str]:
    """Each environment as it should be."""
    done: list[str] = []
    for environment in box.store.environments.all():
        try:
            repaired = converge(box, environment)
        except HomeportError as error:
            logger.error("reconcile: %s. %s", error.cause, error.hint)
            continue
        if repaired:
            box.store.events.record("environment.repaired", environment, "homeport", done=repaired)
        done += repaired
    return done


def endings(box: Appliance) -> list[str]:
    """Deployments that went live and whose process died before the one before had ended: nobody measured them."""
    done = []
    for deployment in box.store.deployments.undrained():
        with box.journal.holding(deployment.environment_id) as free:
            if free:
                box.store.deployments.drained(deployment, None)
                done.append(f"#{deployment.number} of {deployment.project_id}: the one before has ended")
    return done


def strays(box: Appliance) -> list[str]:
    """Containers and networks of ours that belong to no environment."""
    known = {environment.id for environment in box.store.environments.all()}
    return [f"removed {name}" for runtime in box.runtimes.values() for name in runtime.strays(known, remove=True)]


def leftovers(box: Appliance) -> list[str]:
    """Work folders and open intents of deployments that are over."""
    busy = {deployment.id for deployment in box.store.deployments.active()}
    done = []
    work = box.settings.root / "work"
    for folder in work.iterdir() if work.exists() else ():
        if folder.name.partition(".")[0] not in busy:
            shutil.rmtree(folder, ignore_errors=True)
            done.append(f"removed work folder {folder.name}")
    for intent in box.store.intents.open():
        if intent["deployment_id"] not in busy:
            box.store.intents.done(intent["id"])
    return done
