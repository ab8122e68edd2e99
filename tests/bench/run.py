"""Measures what Homeport promises, in one run, and marks each figure against its aim: `make bench`.

Real Docker, real Caddy, a real box. Wall times depend on the machine: the load average is printed, and medians beside worst.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.box import Box, ask_socket, caddy_path, command, wait_until
from tests.load_process import LoadProcess
from tests.repository import EXAMPLES, Repository

STAGES = ("source", "plan", "image", "rollout", "route", "health")


@dataclass(frozen=True)
class Figure:
    """One line of the result. `worst` is the largest of the repeats; `aim` is the most that `value` may be."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    worst: float | None = None

    @property
    def met(self) -> bool | None:
        return None if self.aim is None else self.value <= self.aim

    def line(self) -> str:
        mark = {None: "  ", True: "ok", False: "NO"}[self.met]
        aim = "" if self.aim is None else f"aim {self.aim:g} {self.unit}"
        worst = "" if self.worst is None else f"worst {self.worst:.3f}"
        return f"{mark}  {self.name:<58} {self.value:>9.3f} {self.unit:<4} {worst:<14} {aim}"


class Application:
    """One deployed example, and its redeploys."""

    def __init__(self, box: Box, folder: Path, name: str, file: str) -> None:
        self.box = box
        self.name = name
        self.file = file
        self.source = Repository.of(EXAMPLES / f"path-{name}", folder / name)
        self.version = 1
        first = box.deploy(self.source.path, name)
        assert first.exit_code == 0, first.stderr + box.output()
        self.url = str(first.last["url"])

    def redeploy(self, rate: float) -> tuple[float, dict[str, float], LoadProcess]:
        """Seconds from the command to the first new answer, seconds by stage, and what the generator saw."""
        self.source.edit(self.file, f"version {self.version}", f"version {self.version + 1}")
        self.version += 1
        with LoadProcess(self.url, rate, seen=r"version (\d+)") as load:
            time.sleep(0.5)
            begin = time.monotonic()
            done = self.box.deploy(self.source.path, self.name)
            time.sleep(0.2)
        assert done.exit_code == 0, done.stderr + self.box.output()
        first_seen = load.report["first_seen"][str(self.version)] + load.report["began"] - begin
        return first_seen, done.last["seconds"], load


def redeploys(application: Application, repeats: int, aim: float) -> Iterator[Figure]:
    """Speed with little load."""
    runs = [application.redeploy(50)[:2] for _ in range(repeats)]
    seconds = [seconds for seconds, _stages in runs]
    name = f"{application.name}: command to first new answer"
    yield Figure(name, statistics.median(seconds), "s", aim, max(seconds))
    for stage in STAGES:
        spent = [stages.get(stage, 0.0) for _seconds, stages in runs]
        yield Figure(f"{application.name}:   {stage}", statistics.median(spent), "s", None, max(spent))


def under_load(application: Application, repeats: int, rate: float) -> Iterator[Figure]:
    """Failures and waits while redeploying."""
    reports = [application.redeploy(rate)[2].report for _ in range(repeats)]
    what = f"{application.name}: {repeats} redeploys at {rate:g}/s"
    yield Figure(f"{what}: failed of {sum(r['sent'] for r in reports)}", sum(r["failed"] for r in reports), "", 0)
    yield Figure(f"{what}: longest wait", max(r["longest_wait_ms"] for r in reports), "ms", 250)
    yield Figure(f"{what}: generator's own lag", max(r["lag_ms"] for r in reports), "ms")


def memory(box: Box) -> Figure:
    """PSS of the control plane: homeportd, without Caddy and what it builds."""
    assert box.process is not None
    text = Path(f"/proc/{box.process.pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert match is not None
    return Figure("PSS of the control plane after the deploys", int(match[1]) / 1024, "MiB", 64)


def cold_start(box: Box, repeats: int) -> Figure:
    """From the command to the first 200 of /v1/health; Caddy and the applications go on running."""
    seconds = []
    for _ in range(repeats):
        box.kill9()
        begin = time.monotonic()
        box.start(ready=False)
        wait_until(lambda: healthy(box), "the API answers", every=0.005)
        seconds.append(time.monotonic() - begin)
    return Figure("API: start to first answer", statistics.median(seconds), "s", 0.6, max(seconds))


def healthy(box: Box) -> bool:
    try:
        return ask_socket(box.socket, "/v1/health")[0] == 200
    except OSError:
        return False


def cli(box: Box, arguments: Sequence[str], repeats: int) -> Figure:
    """Wall time of a short verb."""
    seconds = []
    for _ in range(repeats):
        begin = time.monotonic()
        done = subprocess.run([*command("homeport"), *arguments], env=box.environment(), capture_output=True, text=True)
        seconds.append(time.monotonic() - begin)
        assert done.returncode == 0, done.stderr
    return Figure(f"homeport {' '.join(arguments)}", statistics.median(seconds), "s", 0.15, max(seconds))


@contextmanager
def running_box() -> Iterator[tuple[Box, Path]]:
    import docker

    caddy = caddy_path()
    assert caddy is not None, "no caddy; ./tests/run installs it"
    folder = Path(tempfile.mkdtemp(prefix="hp-bench-", dir="/tmp"))
    box = Box([28080, 28443], caddy=caddy, settings={})
    try:
        box.start()
        yield box, folder
    finally:
        engine = docker.from_env()
        box.clean(engine)
        engine.close()
        shutil.rmtree(folder, ignore_errors=True)


def measure(repeats: int, rate: float) -> Iterator[Figure]:
    with running_box() as (box, folder):
        static = Application(box, folder, "static", "index.html")
        flask = Application(box, folder, "flask", "app.py")
        yield from redeploys(static, repeats, 0.30)
        yield from redeploys(flask, repeats, 1.2)
        yield from under_load(static, repeats, rate)
        yield from under_load(flask, repeats, rate)
        yield memory(box)
        yield cold_start(box, repeats)
        yield cli(box, ["projects", "list"], 2 * repeats + 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rate", type=float, default=400.0, help="requests a second of the redeploys under load")
    parser.add_argument("--json", action="store_true", help="one object per figure")
    options = parser.parse_args()
    if not options.json:
        print(f"load average before: {' '.join(f'{value:.2f}' for value in os.getloadavg())}; {os.cpu_count()} cores")
    for figure in measure(options.repeats, options.rate):
        print(json.dumps(asdict(figure) | {"met": figure.met}) if options.json else figure.line(), flush=True)
    return 0


if __name__ == "__main__":
    os.environ.update(GIT_AUTHOR_NAME="Ada", GIT_AUTHOR_EMAIL="ada@example.test")
    os.environ.update(GIT_COMMITTER_NAME="Ada", GIT_COMMITTER_EMAIL="ada@example.test")
    sys.exit(main())
