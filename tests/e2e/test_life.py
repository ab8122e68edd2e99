"""The life of a box: killed, adopted, ended in order; what somebody breaks is repaired; the everyday verbs, by the real CLI."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from tests.box import Box, ask_socket, wait_until
from tests.leftovers import data_label
from tests.repository import Repository

pytestmark = pytest.mark.e2e

HOST = "shop.localhost"


def containers(box: Box, engine: DockerClient) -> list[Any]:
    return list(engine.containers.list(all=True, filters={"label": f"homeport.data={data_label(box.data)}"}))


def caddy_pid(box: Box) -> int:
    """The pid of the box's Caddy, found by its command line; 0 when it does not run."""
    wanted = str(box.data / "caddy" / "config.json").encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (entry / "cmdline").read_bytes() and b"caddy" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
    return 0


@pytest.fixture
def box(homeportd: Callable[..., Box], repository: Callable[..., Repository]) -> Box:
    box = homeportd(settings={"keep_deployments": 1})
    done = box.deploy(repository("path-flask").path, "shop")
    assert done.exit_code == 0, done.stderr + box.output()
    return box


def test_killed_and_adopted_then_ended_in_order(box: Box, engine: DockerClient) -> None:
    before, running = caddy_pid(box), [container.id for container in containers(box, engine)]
    box.kill9()
    assert box.get(HOST) == (200, "version 1"), "Caddy and the application go on without us"
    box.start()
    assert box.get(HOST) == (200, "version 1")
    assert caddy_pid(box) == before, "adopted, not started anew"
    assert [container.id for container in containers(box, engine)] == running

    assert box.stop() == 0
    assert caddy_pid(box) == 0
    assert [container.status for container in containers(box, engine)] == ["exited"]
    box.start()
    wait_until(lambda: served(box) == (200, "version 1"), "the application is back")
    assert [container.id for container in containers(box, engine)] == running

    box.kill9()
    down = box.homeportd("down")
    assert down.returncode == 0, down.stderr
    assert caddy_pid(box) == 0
    assert [container.status for container in containers(box, engine)] == ["exited"]


def served(box: Box) -> tuple[int, str] | None:
    try:
        return box.get(HOST, timeout=2)
    except OSError:
        return None


def test_what_somebody_breaks_is_said_and_repaired(box: Box, engine: DockerClient) -> None:
    stray = engine.containers.create(
        "debian:12-slim",
        ["true"],
        labels={"homeport.managed": "1", "homeport.data": data_label(box.data), "homeport.environment": "env_gone"},
    )
    containers(box, engine)[0].remove(force=True)
    config = box.caddy_config()
    status, answer = ask_socket(box.data / "caddy.sock", "/config/apps/http/servers/edge/routes", "DELETE")
    assert status == 200, answer
    (next((box.data / "routes").iterdir()) / "current").unlink()

    wait_until(lambda: served(box) == (200, "version 1"), "served again", 90)
    wait_until(lambda: json.loads(box.caddy_config()) == json.loads(config), "Caddy's configuration is back", 60)
    wait_until(lambda: stray.id not in [container.id for container in containers(box, engine)], "the stray is gone", 60)
    wait_until(lambda: invariants(box) == [], "every invariant holds", 60)
    events = [json.loads(line) for line in box.cli("events", "--json").stdout.splitlines()]
    assert "environment.repaired" in [event["action"] for event in events]
    assert "Caddy's configuration" in box.output()


def invariants(box: Box) -> list[str]:
    done = box.homeportd("doctor", "--invariants", "--json")
    return [check["finding"] for check in map(json.loads, done.stdout.splitlines()) if not check["ok"]]


def test_a_killed_caddy_is_started_again(box: Box) -> None:
    os.kill(caddy_pid(box), signal.SIGKILL)
    wait_until(lambda: served(box) == (200, "version 1"), "Caddy is back", 90)


def sleepers() -> list[str]:
    """The processes of the slow build, wherever they run."""
    return [text for text in map(cmdline, Path("/proc").iterdir()) if "sleep 41" in text and "started-building" in text]


def cmdline(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") if process.name.isdigit() else ""
    except OSError:
        return ""


def test_sigterm_during_a_build_hands_it_back(box: Box, tmp_path: Path, engine: DockerClient) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        'FROM python:3.11-slim\nRUN echo started-building; sleep 41; echo done\nCMD ["python3", "-m", "http.server", "8080"]\n'
    )
    assert box.cli("deploy", str(folder), "--project", "slow", "--detach").returncode == 0
    wait_until(lambda: "started-building" in box.cli("logs", "slow", "--build", "1").stdout, "it builds", 120)
    begin = time.monotonic()
    assert box.stop() == 0
    assert time.monotonic() - begin < 60
    assert not sleepers(), "the build ended with us"
    box.start()
    wait_until(lambda: box.json("deployments", "show", "slow", "1")["status"] == "live", "resumed and live", 180)
    assert box.json("deployments", "show", "slow", "1")["attempt"] == 0, "an end in good order is no crash"


def test_everyday_verbs(box: Box, repository: Callable[..., Repository]) -> None:
    config = box.caddy_config()
    assert box.cli("env", "set", "-p", "shop", "TOKEN=canary-5up3r").returncode == 0
    listed = box.cli("env", "list", "-p", "shop")
    assert "TOKEN" in listed.stdout
    assert "canary-5up3r" not in listed.stdout + listed.stderr
    assert b"canary-5up3r" not in (box.data / "homeport.db").read_bytes()

    for verb in (("scale", "shop", "web=3"), ("restart", "shop")):
        done = box.cli(*verb)
        assert done.returncode == 0, done.stderr
        assert [replica["state"] for replica in box.json("status", "shop")["replicas"]] == ["running"] * 3
    assert box.caddy_config() == config, "neither env, scale nor restart touches Caddy's configuration"

    assert box.cli("stop", "shop").returncode == 0
    assert (served(box) or (0, ""))[0] == 503
    assert box.cli("start", "shop").returncode == 0
    assert served(box) == (200, "version 1")

    assert box.cli("domains", "add", "www.shop.test", "-p", "shop").returncode == 0
    assert box.get("www.shop.test")[1] == "version 1"
    taken = box.cli("domains", "add", "www.shop.test", "-p", "shop")
    assert taken.returncode == 5, taken.stderr
    assert box.cli("delete", "shop", "--yes").returncode == 0
    assert (served(box) or (0, ""))[0] == 404


def test_a_lost_key_is_asked_for_first(box: Box, repository: Callable[..., Repository]) -> None:
    source = repository("path-flask", to="again")
    (source.path / "homeport.toml").write_text('[env]\nMODE = "fast"\n')
    source.commit("with a key")
    assert box.deploy(source.path, "shop").exit_code == 0
    (source.path / "homeport.toml").unlink()
    source.commit("without")
    refused = box.deploy(source.path, "shop")
    assert refused.exit_code in (5, 7), refused.stderr
    assert "MODE" in refused.stderr
    assert box.get(HOST) == (200, "version 1")
    assert box.deploy(source.path, "shop", "--lose-env").exit_code == 0


def test_a_git_url_is_pinned_and_deployed(box: Box, repository: Callable[..., Repository], homeportd: Callable[..., Box]) -> None:
    source = repository("path-static", to="served")
    refused = box.cli("deploy", "--project", "site", "--git", str(source.path), "--ref", "main")
    assert refused.returncode != 0
    assert "local_repositories" in refused.stderr
    other = homeportd(settings={"local_repositories": [str(source.path.parent)]})
    done = other.json("deploy", "--project", "site", "--git", str(source.path), "--ref", "main")
    assert (done["status"], done["number"]) == ("live", 1)
    shown = other.json("deployments", "show", "site", "1")
    assert shown["commit"] == source.git("rev-parse", "HEAD").strip()
    hostile = other.cli("deploy", "--project", "site", "--git", str(source.path), "--ref=--upload-pack=touch canary")
    assert hostile.returncode != 0
