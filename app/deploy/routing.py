"""Route: turn an environment's traffic to a candidate; and tell the edge which names there are."""

from __future__ import annotations

import threading
from typing import Any

from app.adapters.edge import EdgeSite, render
from app.appliance import Appliance
from app.deploy.traffic import (
    clear,
    local_host,
    plan_of,
    point,
    remember,
    route_files,
    route_name,
    serving,
    stop,
    turn,
    turn_back,
)
from app.model import Deployment, Domain, Running, Switch

__all__ = [
    "clear",
    "drift",
    "edge_config",
    "edge_sites",
    "point",
    "repair_edge",
    "serving",
    "stop",
    "switch",
    "sync_edge",
    "turn_back",
]

_edge = threading.Lock()
"""What is rendered is applied before anybody renders anew: else an older view of the store could win."""


def switch(box: Appliance, deployment: Deployment, running: Running) -> Switch:
    """Turn the environment's traffic to a candidate; asked again, nothing happens.

    When another deployment has the traffic, the prober counts from just before; who ends the deployment ends the prober.
    Raises OutOfSpace, with the traffic where it was.
    """
    environment_id = deployment.environment_id
    plan = plan_of(box, deployment)
    files, links = route_files(running, plan)
    name = route_name(running.number, files, links)
    former = serving(box, environment_id)
    if former is not None and former != running.number:
        box.prober.start(environment_id, local_host(box, environment_id), plan.health.path or "/")
        box.prober.mark(environment_id)
    with box.journal.intend(deployment, "route", f"{environment_id}/{name}"):
        remember(box, environment_id, running.number)
        turn(box, environment_id, name, files, links)
    return Switch(environment_id=environment_id, number=running.number, previous=former)


def sync_edge(box: Appliance) -> bool:
    """Caddy runs, and answers to the names in the store. Returns whether its configuration changed; a deploy never does that."""
    with _edge:
        config = edge_config(box)
        return box.caddy.ensure_running(config) or box.caddy.apply(config)


def repair_edge(box: Appliance) -> list[str]:
    """As `sync_edge`. Returns what was wrong, in words: Caddy did not run, or somebody else had changed its configuration."""
    with _edge:
        config = edge_config(box)
        if box.caddy.ensure_running(config):
            return ["started Caddy"]
        foreign = box.caddy.drift(config)
        box.caddy.apply(config)
        return [f"put Caddy's configuration back: {text}" for text in foreign]


def drift(box: Appliance) -> list[str]:
    """What is wrong with Caddy now, in short words; empty when nothing is."""
    return box.caddy.drift(edge_config(box))


def edge_config(box: Appliance) -> dict[str, Any]:
    """The configuration that the store asks for."""
    return render(box.settings, edge_sites(box.store.domains.all()))


def edge_sites(domains: list[Domain]) -> list[EdgeSite]:
    """The names of each environment, in the order they came."""
    names: dict[str, list[Domain]] = {}
    for domain in domains:
        names.setdefault(domain.environment_id, []).append(domain)
    return [EdgeSite(key, tuple((domain.name, domain.tls) for domain in found)) for key, found in names.items()]
