"""The Docker runtime on a real engine: good ends, logs, commands, and what is collected or left."""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from app.adapters.buildkit import Build
from app.adapters.process import Cancel
from app.runtimes import containers
from tests.box import wait_until
from tests.leftovers import data_label
from tests.runtimes.conftest import APP, QUICK, World, get
from tests.wanted import plan, web, worker

pytestmark = pytest.mark.e2e


def test_drain_waits_for_the_request_in_flight_and_keeps_the_last_output(world: World) -> None:
    old, new = world.desired(number=6, deployment_id="dep6"), world.desired()
    address = world.start(old, {"NAME": "old"}).addresses[0]
    world.runtime.settle(old)
    world.start(new, {"NAME": "new"})
    answers: list[tuple[int, str]] = []
    request = threading.Thread(target=lambda: answers.append(get(address, "/slow/2")))
    request.start()
    wait_until(lambda: connected(address), "the request is in flight")
    world.runtime.drain("env1", new, world.lines.append)
    request.join(timeout=10)
    assert [(status, body.split()[0]) for status, body in answers] == [(200, "old")]
    assert [replica.number for replica in world.runtime.observe("env1")] == [7]
    kept = world.data / "logs/prj1/6.app.log"
    assert "web.0 | listening on 0.0.0.0:8080" in kept.read_text().splitlines()
    assert kept.stat().st_mode & 0o777 == 0o600


def connected(address: str) -> bool:
    host, _, port = address.partition(":")
    packed = "".join(f"{int(part):02X}" for part in reversed(host.split(".")))
    end = f"{packed}:{int(port):04X}"
    return any(line.split()[2:4] == [end, "01"] for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:])


def test_drain_waits_for_connections_at_most_for_the_stop_timeout(world: World) -> None:
    old = world.desired(plan=plan(health=QUICK, stop_timeout=1.0))
    host, _, port = world.start(old).addresses[0].partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.connect()
    started = time.monotonic()
    world.runtime.drain("env1", None, world.lines.append)
    connection.close()
    assert 1.0 <= time.monotonic() - started < 60
    assert world.runtime.observe("env1") == ()


def test_drain_of_nothing_is_nothing(world: World) -> None:
    world.runtime.drain("env1", world.desired(), world.lines.append)
    assert world.lines == []


def test_logs_are_merged_and_follow_a_restarted_container(world: World) -> None:
    wanted = world.desired(web(f"{APP} serve"), worker(f"{APP} chat 3"))
    world.start(wanted)
    world.runtime.settle(wanted)
    assert [line for line in world.runtime.logs("env1", 100, False, Cancel()) if line.startswith("worker")] == [
        *(f"worker.0 | line {n}" for n in range(3)),
    ]
    cancel, lines = Cancel(), list[str]()
    reader = threading.Thread(target=lambda: lines.extend(world.runtime.logs("env1", 0, True, cancel)))
    reader.start()
    name = next(name for name in world.runtime.names(wanted) if "worker" in name)
    os.kill(world.inspect(name)["State"]["Pid"], 9)
    try:
        wait_until(lambda: len(of_worker(lines)) >= 3, "the lines of the second run", seconds=20)
    finally:
        cancel.set()
        reader.join(timeout=10)
    assert not reader.is_alive()
    assert of_worker(lines) == [f"worker.0 | line {n}" for n in range(3)]
    assert world.inspect(name)["RestartCount"] == 1


def of_worker(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("worker")]


def test_a_command_runs_once_with_the_env_and_its_exit_code(world: World) -> None:
    code = world.runtime.run(
        world.desired(), {"NAME": "ada"}, ["sh", "-c", 'echo "$NAME"; echo err >&2; exit 7'], world.lines.append
    )
    assert (code, sorted(world.lines)) == (7, ["ada", "err"])
    assert world.docker.containers(containers.ours(data_label(world.data))) == []


def test_strays_and_forgetting(world: World) -> None:
    wanted = world.desired(environment_id="env-stray", environment="stray")
    world.start(wanted)
    names = world.runtime.strays({"env1"})
    assert set(names) == {*world.runtime.names(wanted), containers.network_name(wanted, data_label(world.data))}
    assert set(world.runtime.strays({"env1"}, remove=True)) == set(names)
    assert world.runtime.strays({"env1"}) == ()


def test_collect_removes_only_our_images_that_nobody_keeps(world: World) -> None:
    folder = world.data / "collected"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {world.image}\nRUN head -c 3000000 /dev/urandom > /big\n")
    labels = containers.ours(data_label(world.data), **{containers.PROJECT: "prj-collect"})
    foreign = {**labels, containers.DATA: "someone-else"}
    tags = {f"{world.image}-{name}": name for name in ("kept", "dropped", "foreign")}
    for tag, name in tags.items():
        build = Build(context=folder, dockerfile=folder / "Dockerfile", tag=tag, labels=foreign if name == "foreign" else labels)
        assert world.docker.build(build, print, Cancel()).exit_code == 0
    try:
        world.runtime.collect("prj-collect", {f"{world.image}-kept"})
        assert [name for tag, name in tags.items() if world.docker.image(tag)] == ["kept", "foreign"]
    finally:
        for tag in tags:
            world.docker.remove_image(tag)


def test_env_is_in_no_label_and_no_argv(world: World) -> None:
    world.start(world.desired(), {"TOKEN": "canary-1234"})
    found = world.inspect(world.runtime.names(world.desired())[0])
    text = str({**found, "Config": {**found["Config"], "Env": []}})
    assert "canary-1234" not in text
    listing = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True, timeout=10).stdout
    assert "canary-1234" not in listing
