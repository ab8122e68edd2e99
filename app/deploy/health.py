"""Health: the same question as before the switch, now through Caddy as a visitor asks it; a bad answer turns traffic back."""

from __future__ import annotations

import time

from app.adapters.edge_routes import UNKNOWN_PAGE
from app.appliance import Appliance
from app.deploy import traffic
from app.errors import StageFailed, Unavailable
from app.model import Deployment, HealthCheck, Switch
from app.runtimes.asking import is_well

IN_A_ROW = 2
LONGEST_ANSWER = 10.0
"""Seconds for one answer: more than Caddy tries to reach a replica."""


def confirm(box: Appliance, deployment: Deployment, switch: Switch) -> None:
    """Return once the environment answers well twice in a row through Caddy, and the switch names this deployment.

    Else, after the plan's health timeout, and on anything else that is raised (Canceled among it), the traffic goes back to what
    had it before. Raises StageFailed.
    """
    try:
        _named(box, switch)
        if traffic.kind(box, switch.environment_id) != "idle":
            _asked(box, deployment, switch)
    except BaseException:
        traffic.turn_back(box, switch)
        raise


def _asked(box: Appliance, deployment: Deployment, switch: Switch) -> None:
    check = traffic.plan_of(box, deployment).health
    host = traffic.local_host(box, switch.environment_id)
    cancel = box.journal.cancel(deployment)
    deadline = time.monotonic() + check.timeout
    well = 0
    while well < IN_A_ROW:
        good, words, body = _ask(box, host, check, deadline - time.monotonic())
        well = well + 1 if good else 0
        _named(box, switch)
        cancel.raise_if_set()
        if not good and time.monotonic() + check.interval > deadline:
            raise _failed(check, words, body)
        if not good:
            cancel.wait(check.interval)


def _ask(box: Appliance, host: str, check: HealthCheck, left: float) -> tuple[bool, str, str]:
    path = check.path or "/"
    try:
        status, body = box.caddy.answer(host, path, timeout=min(max(left, 1.0), LONGEST_ANSWER))
    except Unavailable as error:
        return False, error.cause, ""
    if status == 404 and body.startswith(UNKNOWN_PAGE):
        return False, f"Caddy does not know the name {host}", body
    return is_well(status, check), f"http://{host}{path} answered {status} through Caddy", body


def _named(box: Appliance, switch: Switch) -> None:
    number = traffic.serving(box, switch.environment_id)
    if number != switch.number:
        raise StageFailed(
            f"the switch names {f'#{number}' if number is not None else 'nothing'} instead of #{switch.number}",
            failure_code="switch-lost",
            hint="Something else changed the route meanwhile. Deploy again.",
        )


def _failed(check: HealthCheck, words: str, body: str) -> StageFailed:
    wanted = "200 to 399" if check.path else "below 500"
    return StageFailed(
        f"{words}; {wanted}, {IN_A_ROW} times in a row, was needed within {check.timeout:g} s",
        failure_code="health-through-proxy",
        hint="Asked directly the application was well. Look at `homeport logs`; does it depend on the Host header?",
        log_tail=tuple(body.splitlines()[:20]),
    )
