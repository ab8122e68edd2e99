"""Traffic: which route an environment has now. Turning it is one renamed symlink; the edge's configuration stays as it is.

`<data>/routes/<environment>/` holds a folder for each route, named `<number>-<hash of its content>`, and two symlinks: `current`,
which is what serves, and `previous`, which is where a bad answer turns back to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from app.adapters.edge import route_folder
from app.adapters.edge_routes import FILE, STOPPED, docker_route, kind_of, static_route
from app.appliance import Appliance
from app.errors import StageFailed
from app.model import Deployment, Desired, Plan, Running, Switch

CURRENT = "current"
PREVIOUS = "previous"
Files = dict[str, str]


def turn(box: Appliance, environment_id: str, name: str, files: Files, links: Files) -> bool:
    """Make the folder `name` the environment's route. Returns whether another one was before."""
    folder = route_folder(box.settings, environment_id)
    if box.disk.target(folder / CURRENT) == name and (folder / name).is_dir():
        return False
    # Before the swap: a request may still be on its way through what is replaced now.
    _tidy(box, folder, name)
    box.disk.publish(folder / name, files, links)
    box.disk.swap(folder / CURRENT, name)
    return True


def remember(box: Appliance, environment_id: str, number: int) -> None:
    """Where to turn back to: what has the traffic, unless that is the candidate itself, seen before a crash."""
    folder = route_folder(box.settings, environment_id)
    current = box.disk.target(folder / CURRENT)
    if current is None:
        box.disk.remove(folder / PREVIOUS)
    elif _number(current) != number:
        box.disk.swap(folder / PREVIOUS, current)


def turn_back(box: Appliance, switch: Switch) -> None:
    """Give the traffic back to what had it before `switch`, to nobody when that was the first. Asked again, nothing happens."""
    folder = route_folder(box.settings, switch.environment_id)
    if _number(box.disk.target(folder / CURRENT)) != switch.number:
        return
    previous = box.disk.target(folder / PREVIOUS)
    if previous is not None and (folder / previous).is_dir():
        box.disk.swap(folder / CURRENT, previous)
    else:
        box.disk.remove(folder / CURRENT)


def point(box: Appliance, desired: Desired, running: Running) -> bool:
    """Let the traffic of a live deployment go where it runs now. Returns whether it went elsewhere before."""
    files, links = route_files(running, desired.plan)
    return turn(box, desired.environment_id, route_name(desired.number, files, links), files, links)


def stop(box: Appliance, desired: Desired) -> bool:
    """Answer 503 in words for the environment. Returns whether anything else was answered before."""
    files = {FILE: STOPPED}
    return turn(box, desired.environment_id, route_name(desired.number, files, {}), files, {})


def clear(box: Appliance, environment_id: str) -> None:
    """Nothing serves the environment any more; its names answer that nothing is deployed."""
    folder = route_folder(box.settings, environment_id)
    for link in (CURRENT, PREVIOUS):
        box.disk.remove(folder / link)
    _tidy(box, folder)


def serving(box: Appliance, environment_id: str) -> int | None:
    """The number of the deployment that has the traffic; None when nothing has, or the environment is stopped."""
    current = route_folder(box.settings, environment_id) / CURRENT
    return None if kind(box, environment_id) in ("", STOPPED) else _number(box.disk.target(current))


def kind(box: Appliance, environment_id: str) -> str:
    """What the environment's route is: `docker`, `static`, `idle` (no web process), `stopped`, or empty."""
    try:
        return kind_of((route_folder(box.settings, environment_id) / CURRENT / FILE).read_text())
    except OSError:
        return ""


def local_host(box: Appliance, environment_id: str) -> str:
    """The generated name that answers plain HTTP on this machine and needs no DNS: what Homeport itself asks for."""
    names = [domain.name for domain in box.store.domains.of(environment_id) if domain.generated]
    local = [name for name in names if name.endswith(".localhost")]
    if not local:
        raise StageFailed(
            "the project has no name below .localhost, so nothing can be asked through Caddy",
            failure_code="no-local-name",
            hint="This is a fault of Homeport: please report it.",
        )
    return local[0]


def plan_of(box: Appliance, deployment: Deployment) -> Plan:
    """The plan as it is stored; a deployment that is under way carries the one from before its plan stage."""
    plan = box.store.deployments.get(deployment.id).plan
    if plan is None:
        raise StageFailed(f"#{deployment.number} has no plan", failure_code="internal", hint="Deploy the commit again.")
    return plan


def route_files(running: Running, plan: Plan) -> tuple[Files, Files]:
    """The files and symlinks of the folder that sends traffic to `running`."""
    if running.runtime == "static":
        return {FILE: static_route(running.site or "", plan.static)}, {}
    return {FILE: docker_route(running.addresses)}, {}


def route_name(number: int, files: Mapping[str, str], links: Mapping[str, str]) -> str:
    """`<number>-<8 hex of the content>`: another content is another folder."""
    content = "\0".join(f"{name}\0{text}" for name, text in sorted({**files, **links}.items()))
    return f"{number}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _tidy(box: Appliance, folder: Path, *keep: str) -> None:
    kept = {CURRENT, PREVIOUS, *keep, *(box.disk.target(folder / link) for link in (CURRENT, PREVIOUS))}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in kept:
            box.disk.remove(path)


def _number(name: str | None) -> int | None:
    number = (name or "").partition("-")[0]
    return int(number) if number.isdigit() else None
