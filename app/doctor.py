"""Doctor: every check of the box, each with what was found, why it matters, and what mends it."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable
from functools import partial

import msgspec

from app import invariants
from app.adapters.process import run
from app.appliance import Appliance
from app.deploy import routing
from app.errors import HomeportError
from app.inputs import Check
from app.model import Desired

FLOORS = {"SQLite": (3, 51, 3), "Caddy": (2, 11, 0), "git": (2, 43, 7), "runc": (1, 2, 8)}
"""The oldest versions without known faults: WAL-reset corruption, CVE-2025-48384 (git), CVE-2025-31133 (runc)."""
DISK_WARNING, DISK_ERROR = 0.10, 0.03
"""Shares of free space below which doctor warns, and calls it an error."""


def check(box: Appliance, *, serving: bool = True, only_invariants: bool = False) -> list[Check]:
    """Every check, or those of the invariants. `serving` is False when no server runs."""
    checks: list[Check] = []
    for look in () if only_invariants else (database, key, disk, docker, caddy, versions):
        checks += _guarded(look.__name__, partial(look, box))
    return checks + _guarded("invariants", partial(hold, box, serving))


def database(box: Appliance) -> list[Check]:
    """The file is whole."""
    found = box.store.integrity()
    return [_check("database", not found, "; ".join(found) or "whole", fix="Stop homeportd and restore the newest backup.")]


def key(box: Appliance) -> list[Check]:
    """Only this account reads the key of the secrets."""
    mode = stat.S_IMODE(box.settings.key_file.stat().st_mode)
    return [
        _check(
            "secret key",
            mode & 0o077 == 0,
            f"mode {mode:04o}",
            why="Others on the box could read every secret.",
            fix=f"chmod 600 {box.settings.key_file}",
        )
    ]


def disk(box: Appliance) -> list[Check]:
    """Room on the disk of the data folder."""
    usage = shutil.disk_usage(box.settings.root)
    share = usage.free / usage.total
    level = "error" if share < DISK_ERROR else "warning"
    text = f"{usage.free >> 20} MiB of {usage.total >> 20} MiB free"
    why = "A full disk stops builds, and then every write."
    return [_check("disk", share >= DISK_WARNING, text, why=why, fix="docker builder prune; docker image prune", level=level)]


def docker(box: Appliance) -> list[Check]:
    """The engine answers, a docker CLI has BuildKit, and builds are capped."""
    checks = [_check("docker engine", True, f"version {box.docker.info()['ServerVersion']}")]
    try:
        checks.append(_check("docker build", True, f"BuildKit with {box.docker.find_cli().path}"))
    except HomeportError as error:
        checks.append(_check("docker build", False, error.cause, why="Nothing can be built.", fix=error.hint))
    reason = box.docker.build_caps()
    why = "A build could starve the running applications."
    checks.append(
        _check(
            "build caps",
            reason is None,
            reason or "builds are capped",
            why=why,
            fix="Run homeportd as root.",
            level="warning",
        )
    )
    return checks


def caddy(box: Appliance) -> list[Check]:
    """Caddy runs with the configuration that the store renders."""
    drift = routing.drift(box)
    return [
        _check(
            "caddy",
            not drift,
            "; ".join(drift) or "runs with our configuration",
            why="Routes may be missing or foreign.",
            fix="It is put back within 30 s while homeportd runs.",
        )
    ]


def versions(box: Appliance) -> list[Check]:
    """Nothing below the floors; older ones work, with faults that are known."""
    found = {
        "SQLite": sqlite3.sqlite_version,
        "git": _version(["git", "--version"]),
        "runc": _version(["runc", "--version"]),
        "Caddy": _version([box.caddy.binary(), "version"]),
    }
    checks = [
        _check(
            f"{name} version",
            _at_least(text, FLOORS[name]),
            f"{text or 'not found'}, floor {'.'.join(map(str, FLOORS[name]))}",
            why="Known faults are mended there.",
            fix=f"Upgrade {name}.",
            level="warning",
        )
        for name, text in found.items()
    ]
    return [
        *checks,
        _check("Python version", sys.version_info >= (3, 11), sys.version.split()[0], fix="Install Python 3.11 or newer."),
    ]


def hold(box: Appliance, serving: bool) -> list[Check]:
    """The invariants of the store against the world."""
    found = invariants.broken(facts(box, serving))
    by_name = {name: [v.text for v in found if v.invariant == name] for name in ("I2", "I3", "I5", "I6", "I7")}
    why = {
        "I2": "A deployment that nobody carries never ends.",
        "I3": "Something that was acknowledged is lost.",
        "I5": "Something happened twice.",
        "I6": "What runs is not what should run.",
        "I7": "Something is left that nobody wants.",
    }
    fix = "Reconcile repairs this within 30 s while homeportd runs; if it stays, read the server's log."
    return [
        _check(f"invariant {name}", not texts, "; ".join(texts) or "holds", why=why[name], fix=fix)
        for name, texts in by_name.items()
    ]


def facts(box: Appliance, serving: bool = True) -> invariants.Facts:
    """What the store says and the world shows, now."""
    environments = box.store.environments.all()
    desired = {e.id: d for e in environments if (d := box.store.live(e)) is not None}
    busy = {d.id for d in box.store.deployments.active()} | {d.id for d in box.store.deployments.waiting()} if serving else set()
    carried_environments = {d.environment_id for d in box.store.deployments.active()}
    settled = [e for e in environments if e.id not in carried_environments]
    ids = {e.id for e in environments}
    work = box.settings.root / "work"
    running = {d.id for d in box.store.deployments.active()}
    return invariants.Facts(
        environments=tuple(settled),
        deployments=tuple(box.store.deployments.everything()),
        desired=desired,
        serving={e.id: routing.serving(box, e.id) for e in settled},
        replicas={e.id: tuple(r for runtime in box.runtimes.values() for r in runtime.observe(e.id)) for e in settled},
        expected={e.id: expected(desired.get(e.id)) for e in settled},
        carried=busy,
        open_intents=tuple(i["name"] for i in box.store.intents.open() if i["deployment_id"] not in running),
        work_folders=tuple(f.name for f in (work.iterdir() if work.exists() else ()) if f.name not in running),
        stray=tuple(name for runtime in box.runtimes.values() for name in runtime.strays(ids)),
        edge_differs=tuple(routing.drift(box)) if serving else (),
    )


def expected(desired: Desired | None) -> int:
    """How many replicas should run."""
    return 0 if desired is None else sum(process.replicas for process in desired.processes)


def as_json(check: Check) -> str:
    """One line of JSON."""
    return msgspec.json.encode(check).decode()


def as_text(check: Check) -> str:
    """One check for people: a mark, the finding, and when it is not well, why and what to do."""
    mark = "ok  " if check.ok else ("FAIL" if check.level == "error" else "warn")
    lines = [f"{mark} {check.name}: {check.finding}"]
    if not check.ok:
        lines += [f"       {text}" for text in (check.why, check.fix) if text]
    return "\n".join(lines)


def _check(name: str, ok: bool, finding: str, *, why: str = "", fix: str = "", level: str = "error") -> Check:
    return Check(name=name, ok=ok, level="ok" if ok else level, finding=finding, why="" if ok else why, fix="" if ok else fix)


def _guarded(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    try:
        return look()
    except (HomeportError, OSError) as error:
        hint = error.hint if isinstance(error, HomeportError) else ""
        return [_check(name, False, str(error), why="This could not be looked at.", fix=hint)]


def _version(argv: list[str]) -> str:
    try:
        text = run(argv, timeout=10, check=False).stdout.decode(errors="replace")
    except HomeportError:
        return ""
    found = re.search(r"\d+(\.\d+)+", text)
    return found.group() if found else ""


def _at_least(text: str, floor: tuple[int, ...]) -> bool:
    return bool(text) and tuple(int(part) for part in text.split(".")[:3]) >= floor
