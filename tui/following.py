"""Following one deployment to its end, and saying how it ended: shared by deploy, rollback, env and deployments."""

from __future__ import annotations

from typing import Any

from app.model import Deployment, Failure
from tui.output import Painted
from tui.session import Ended, Interrupted, Session
from tui.track import Progress, track


def carry(session: Session, slug: str, deployment: Deployment) -> Deployment:
    """Follow `deployment` and say how it ended. Returns it; raises StageFailed (said already) when it did not go live."""
    ended = follow(session, slug, deployment)
    report(session, slug, ended)
    return ended


def follow(session: Session, slug: str, deployment: Deployment) -> Deployment:
    """Show the progress of `deployment` until it ended and what it replaced has drained. Ctrl-C asks once, and detaches."""
    try:
        return _watched(session, slug, deployment)
    except KeyboardInterrupt:
        _let_go(session, slug, deployment.number)
        raise Interrupted from None


def _watched(session: Session, slug: str, deployment: Deployment) -> Deployment:
    out = session.out
    shown = track(out)
    progress = Progress(shown)
    try:
        for kind, value in session.client.deployments.follow(slug, deployment.number):
            if isinstance(value, Deployment):
                deployment = value
                progress.see(deployment)
                if out.json:
                    for name, word, seconds in progress.ended:
                        out.emit({"kind": "stage", "stage": name, "state": word, "seconds": seconds})
            elif kind == "log":
                shown.log(value)
                if out.json:
                    out.emit({"kind": "log", "line": value})
            else:
                shown.say(value)
    finally:
        shown.close()
    return deployment


def _let_go(session: Session, slug: str, number: int) -> None:
    out = session.out
    out.note("")
    try:
        stop = out.interactive and out.ask(f"#{number} is under way and goes on without you. Cancel it instead?")
    except KeyboardInterrupt:
        stop = False
    if stop:
        session.client.deployments.cancel(slug, number)
        out.note(f"#{number} is being canceled; what served before serves on.")
        return
    out.note(
        f"#{number} goes on. `homeport logs {slug} --build {number} -f` follows it, `homeport cancel {slug} {number}` stops it."
    )


def report(session: Session, slug: str, deployment: Deployment) -> None:
    """The last words about a deployment that has ended. Raises StageFailed when it did not go live."""
    out = session.out
    status = session.client.projects.status(slug)
    if out.json:
        out.emit(result(slug, deployment, status.url))
    if deployment.status in ("live", "retired"):
        out.say(out.mark("live") if out.colour_out else "live", f" {status.url} (#{deployment.number}){served(deployment)}")
        return
    serving = f"#{status.live.number} still serves at {status.url}" if status.live else None
    for line in ending(slug, deployment):
        out.error(*line)
    if serving:
        out.error(f"  {serving}")
    raise Ended(f"#{deployment.number} {deployment.status}")


def result(slug: str, deployment: Deployment, url: str) -> dict[str, Any]:
    """The last JSON line of `deploy` and `rollback`."""
    values: dict[str, Any] = {
        "project": slug,
        "number": deployment.number,
        "status": deployment.status,
        "url": url,
        "dropped": deployment.dropped,
        "longest_wait_ms": deployment.longest_wait_ms,
        "seconds": deployment.stage_seconds,
    }
    return values if deployment.failure is None else {**values, "failure": deployment.failure}


def served(deployment: Deployment) -> str:
    """What the prober saw while traffic turned, in words; empty on a first deployment."""
    if deployment.dropped is None:
        return ""
    asked = "" if deployment.probes is None else f" of {deployment.probes}"
    wait = "" if deployment.longest_wait_ms is None else f", longest wait {deployment.longest_wait_ms} ms"
    return f" dropped {deployment.dropped}{asked} requests{wait}"


def ending(slug: str, deployment: Deployment) -> list[list[str | Painted]]:
    """Why a deployment did not go live: stage, cause, last log lines, exit code, next step."""
    head = Painted(f"#{deployment.number} {deployment.status}", "red")
    failure = deployment.failure
    if failure is None:
        why = {"superseded": ": a newer commit took its place", "canceled": ""}.get(deployment.status, "")
        return [[head, why]]
    return [[head, f" at {failure.stage}: {failure.cause}"], *_evidence(failure), [f"  next: {failure.hint}"]]


def _evidence(failure: Failure) -> list[list[str | Painted]]:
    lines: list[list[str | Painted]] = [[Painted(f"  | {line}", "dim")] for line in failure.log_tail]
    if failure.exit_code is not None:
        lines.append([f"  exit code {failure.exit_code}"])
    return lines
