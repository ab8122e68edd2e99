"""F1: SIGKILL before and after every call of an adapter in a redeploy. What serves goes on serving, and nothing stays stuck.

The server itself says the points that it passes (CRASH_LOG) and dies at the one that it is told (CRASH_AT). After each
death it is started again; then the deployment must end, the invariants that `homeportd doctor` checks must hold, and a
prober that was asking all the time must have seen no failure.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.model import TERMINAL
from tests.box import Box, ask_socket, command, wait_until
from tests.load_process import LoadProcess
from tests.repository import Repository

pytestmark = pytest.mark.e2e

PROBES = 20
"""Requests a second while the server dies and comes back."""
MOMENT = 2.0
"""Seconds in which a worker that has said the end puts its tools away."""
SETTLE = 120.0
"""Seconds until everything must be as it should, at the latest: one reconcile, and what it waits for."""


class Swept:
    """One project of one box, redeployed again and again."""

    def __init__(self, box: Box, source: Repository, file: str, crash_log: Path) -> None:
        self.box = box
        self.source = source
        self.file = file
        self.project = source.path.name
        self.crash_log = crash_log
        self.version = 1
        self.versions: dict[int, str] = {}
        """What each deployment answers, by its number."""
        self.url = ""

    def first(self) -> None:
        done = self.box.deploy(self.source.path, self.project)
        assert done.exit_code == 0, done.stderr + self.box.output()
        self.url = str(done.last["url"])
        self.versions[done.last["number"]] = "1"

    def start(self, crash_at: str = "") -> None:
        """A new server that counts its points; at rest, so that the counts of a deploy are the same every time."""
        self.crash_log.unlink(missing_ok=True)
        self.box.start(env={"CRASH_LOG": str(self.crash_log), "CRASH_AT": crash_at})
        self.at_rest()

    def passed(self) -> list[str]:
        return self.crash_log.read_text().splitlines() if self.crash_log.exists() else []

    def at_rest(self) -> None:
        """Waits until no point was passed for half a second."""
        before, since = len(self.passed()), time.monotonic()
        while time.monotonic() - since < 0.5:
            time.sleep(0.05)
            if len(self.passed()) != before:
                before, since = len(self.passed()), time.monotonic()

    def redeploy(self) -> subprocess.Popen[str]:
        """`homeport deploy` of a changed source, not waited for."""
        self.source.edit(self.file, f"version {self.version}", f"version {self.version + 1}")
        self.version += 1
        return subprocess.Popen(
            [*command("homeport"), "deploy", str(self.source.path), "--project", self.project, "--json"],
            env=self.box.environment(),
            cwd=self.box.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def deployments(self) -> list[dict[str, Any]]:
        """The newest deployments, newest first."""
        status, body = ask_socket(self.box.socket, f"/v1/projects/{self.project}/deployments?limit=20")
        assert status == 200, body
        items: list[dict[str, Any]] = json.loads(body)["items"]
        self.versions.setdefault(items[0]["number"], str(self.version))
        return items

    def ended(self) -> bool:
        """Whether every deployment has ended, and the live one's predecessor has drained."""
        return all(
            each["status"] in TERMINAL and (each["status"] != "live" or each["drained_at"] is not None)
            for each in self.deployments()
        )

    def violations(self) -> list[str]:
        """What the invariants of doctor find broken."""
        status, body = ask_socket(self.box.socket, "/v1/doctor?invariants=true")
        assert status == 200, body
        checks = json.loads(body)
        assert len(checks) == 5, checks
        return [f"{check['name']}: {check['finding']}" for check in checks if not check["ok"]]

    def served(self) -> str:
        """The version that answers now."""
        _status, body = self.box.get(urlsplit(self.url).hostname or "")
        return body.partition("version ")[2].split("<")[0].strip()


def points_of(swept: Swept) -> list[str]:
    """Every point that one redeploy passes, from a run in which nothing is killed."""
    swept.start()
    quiet = len(swept.passed())
    out, err = swept.redeploy().communicate(timeout=120)
    assert json.loads(out.splitlines()[-1])["status"] == "live", err
    swept.at_rest()
    swept.deployments()
    points = swept.passed()[quiet:]
    swept.box.kill9()
    assert len(points) > 20, points
    return points


@dataclass(frozen=True)
class Outcome:
    """How the newest deployment ended, what was repaired on the way; and what is wrong, which must be nothing."""

    note: str
    wrong: list[str]


def crash(swept: Swept, point: str) -> Outcome:
    """Kill the server at `point` of a redeploy, and start it again."""
    swept.start(point)
    with LoadProcess(swept.url, PROBES) as load:
        with _ended_with(swept.redeploy()) as deploying:
            reached = _died(swept, deploying)
            if not reached:
                swept.box.kill9()
            swept.box.start()
            wait_until(swept.ended, f"{point}: every deployment has ended", SETTLE, every=0.1)
            wrong, repaired = _settled(swept)
            accepted = _accepted(deploying)
        newest = swept.deployments()
        serves = swept.served()
    swept.box.kill9()
    live = next(deployment for deployment in newest if deployment["status"] == "live")["number"]
    if lost := set(accepted) - {deployment["number"] for deployment in newest}:
        wrong.append(f"I3: {lost} were accepted, and are not there")
    if serves != swept.versions[live]:
        wrong.append(f"I6: #{live} is live, and version {serves} answers instead of {swept.versions[live]}")
    if load.report["failed"]:
        wrong.append(f"I1: {load.report['kinds']} {load.report['failures'][:5]} of {load.report['sent']}")
    note = f"{newest[0]['status']}{'' if reached else ', not reached'}{f', repaired: {repaired}' if repaired else ''}"
    return Outcome(note, wrong)


@contextmanager
def _ended_with(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """`process`, which does not outlive this."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _died(swept: Swept, deploying: subprocess.Popen[str]) -> bool:
    """Whether the server died at its point; False when the deploy ended before."""
    assert swept.box.process is not None
    end = time.monotonic() + 60
    while time.monotonic() < end:
        code = swept.box.process.poll()
        if code is not None:
            assert code == -signal.SIGKILL, swept.box.output()
            return True
        if deploying.poll() is not None:
            swept.at_rest()
            return swept.box.process.poll() is not None
        time.sleep(0.02)
    raise AssertionError(f"neither died nor ended:\n{swept.box.output()}")


def _settled(swept: Swept) -> tuple[list[str], list[str]]:
    """What is still wrong after reconcile had its time, and what was wrong a moment after the deployment had ended."""
    first = wrong = _wrong_for(swept, MOMENT)
    if wrong:
        # Reconcile runs at boot and every 30 s: a boot is the quicker of the two.
        swept.box.kill9()
        swept.box.start()
        wrong = _wrong_for(swept, SETTLE)
    return wrong, first


def _wrong_for(swept: Swept, seconds: float) -> list[str]:
    """What is wrong all of that time; nothing, as soon as nothing is."""
    end = time.monotonic() + seconds
    while wrong := swept.violations():
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return wrong


def _accepted(deploying: subprocess.Popen[str]) -> list[int]:
    """The numbers of the deployments that the CLI was told were accepted. It need not know that the server came back."""
    try:
        out, _err = deploying.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        deploying.kill()
        out, _err = deploying.communicate()
    objects = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return sorted({value["number"] for value in objects if isinstance(value.get("number"), int)})


LANES = (("path-static", "index.html", 0, 1), ("path-flask", "app.py", 0, 2), ("path-flask", "app.py", 1, 2))
"""What is swept at once, each on a box of its own: the project, the file that changes, and which share of the points."""


@dataclass(frozen=True)
class Lane:
    """One box and its share of the points of a project."""

    swept: Swept
    share: int
    of: int
    say: Callable[[str], None]

    def sweep(self, wanted: str) -> dict[str, list[str]]:
        """What went wrong, by point; every point of the share whose name has `wanted` in it is tried."""
        swept = self.swept
        swept.first()
        swept.box.kill9()
        passed = points_of(swept)
        if self.share == 0:
            self.say(f"{swept.project}: a redeploy passes {len(passed)} points")
        points = [point for point in passed if wanted in point][self.share :: self.of]
        found = {point: wrong for point in points if (wrong := self._crash(point))}
        self.say(
            f"{swept.project}, share {self.share + 1} of {self.of}: {len(points)} points swept, {len(found)} with something wrong"
        )
        return found

    def _crash(self, point: str) -> list[str]:
        begin = time.monotonic()
        outcome = crash(self.swept, point)
        told = "; ".join(outcome.wrong) or "well"
        self.say(f"  {self.swept.project} {point:<44} {time.monotonic() - begin:5.1f} s  {told} ({outcome.note})")
        return outcome.wrong


def test_killed_at_every_point(
    homeportd: Callable[..., Box],
    repository: Callable[..., Repository],
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said: SimpleQueue[str] = SimpleQueue()
    lanes = []
    for name, file, share, of in LANES:
        box = homeportd()
        source = repository(name, to=f"{share}/{name}")
        lanes.append(Lane(Swept(box, source, file, box.folder / "points"), share, of, said.put))
    wanted = str(request.config.getoption("--points"))
    with ThreadPoolExecutor(len(lanes)) as pool:
        sweeps = [pool.submit(lane.sweep, wanted) for lane in lanes]
        while not all(sweep.done() for sweep in sweeps) or not said.empty():
            with contextlib.suppress(Empty), capsys.disabled():
                print(said.get(timeout=0.5), flush=True)
    found = {
        f"{lane.swept.project} {point}": wrong
        for lane, sweep in zip(lanes, sweeps, strict=True)
        for point, wrong in sweep.result().items()
    }
    assert found == {}
