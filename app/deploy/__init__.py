"""The path: a git ref becomes a live URL. This file is the table of contents of the product."""

from __future__ import annotations

from functools import partial

from app.appliance import Appliance
from app.deploy import building, health, planning, rollout, routing, source
from app.model import Deployment


def deploy(box: Appliance, deployment: Deployment) -> Deployment:
    """Carry one commit from a git ref to live traffic. Raises StageFailed, Canceled, LostLease."""
    stage = partial(box.journal.stage, deployment)
    with stage("source"):
        checkout = source.check_out(box, deployment)
    with stage("plan"):
        plan = planning.make(box, deployment, checkout)
    with stage("image"):
        image = building.build(box, deployment, checkout, plan)
    with stage("rollout"):
        running = rollout.start(box, deployment, image)
    with stage("route"):
        switch = routing.switch(box, deployment, running)
    with stage("health"):
        health.confirm(box, deployment, switch)
    return rollout.retire(box, box.store.deployments.make_live(deployment))


def rollback(box: Appliance, deployment: Deployment) -> Deployment:
    """Carry an image that is kept, with its settings and an env version, to live traffic: the path from `rollout` on."""
    stage = partial(box.journal.stage, deployment)
    with stage("rollout"):
        running = rollout.start(box, deployment, rollout.kept(deployment))
    with stage("route"):
        switch = routing.switch(box, deployment, running)
    with stage("health"):
        health.confirm(box, deployment, switch)
    return rollout.retire(box, box.store.deployments.make_live(deployment))
