"""A Desired for tests, with only what a test is about spelled out."""

from __future__ import annotations

from typing import Any

from app.model import Desired, Image, Plan, Process


def plan(**changes: Any) -> Plan:
    """A plan of a Python application on port 8080."""
    return Plan(**{"bundle": "python", "language": "python", "port": 8080, **changes})


def desired(image: str = "hp-shop:1", *, processes: tuple[Process, ...] | None = None, **changes: Any) -> Desired:
    """Deployment 7 of production of the project `shop`, with one web."""
    values: dict[str, Any] = {
        "organization_id": "org1",
        "project_id": "prj1",
        "project": "shop",
        "environment_id": "env1",
        "environment": "production",
        "host_id": "local",
        "deployment_id": "dep7",
        "number": 7,
        "image": Image(runtime="docker", tag=image, digest="sha256:0"),
        "env_version": 1,
        "plan": plan(),
        "processes": processes or (web(),),
        "domains": (),
        "stopped": False,
        "restarts": 0,
    }
    return Desired(**{**values, **changes})


def web(command: str | None = None, replicas: int = 1) -> Process:
    """The process that serves."""
    return Process(name="web", command=command, replicas=replicas)


def worker(command: str, replicas: int = 1) -> Process:
    """A process that serves nothing."""
    return Process(name="worker", command=command, replicas=replicas)
