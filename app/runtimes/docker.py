"""Runs applications on the Docker engine: one container per replica and deployment, on a network of its environment."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.adapters.docker import Docker, EngineRefused
from app.adapters.edge_routes import UPSTREAMS
from app.adapters.process import Cancel
from app.diagnosis import Evidence, diagnose
from app.errors import BadInput, Canceled, Conflict, HomeportError, NotFound, Unavailable
from app.model import Desired, Replica, Running
from app.runtimes import asking, containers, output, sockets
from app.runtimes.containers import Json, Rules, Slot, label
from app.settings import Settings

Log = Callable[[str], None]
T = TypeVar("T")

WORKER_SECONDS = 2.0
"""How long a worker must have run to count as started."""
FIRST_PAUSE = 0.05
KEPT_LINES = 2000
EVIDENCE_LINES = 50
AT_ONCE = 8


class DockerRuntime:
    """The Runtime on one engine."""

    def __init__(self, docker: Docker, settings: Settings) -> None:
        self._docker = docker
        self._settings = settings
        self._data = containers.data_id(settings)
        self._networking = threading.Lock()

    def names(self, desired: Desired) -> tuple[str, ...]:
        return tuple(slot.name for slot in containers.slots(desired, self._data, {}))

    def start(self, desired: Desired, env: Mapping[str, str], log: Log, cancel: Cancel) -> Running:
        slots = self._slots(desired)
        subnet = self._network(desired)
        listed = self._listed(desired.environment_id)
        slots = containers.addressed(slots, subnet, containers.network_name(desired, self._data), listed)
        stop = Cancel()
        forget = cancel.on_set(stop.set)
        launch = _Launch(self._docker, desired, env, self._rules(), stop)
        try:
            addresses = _together([partial(launch.up, slot, log) for slot in slots], stop)
        except BaseException:
            with suppress(HomeportError):  # what is left over is drained later; why the start failed must not be hidden
                self._discard(desired)
            cancel.raise_if_set()
            raise
        finally:
            forget()
        dialled = tuple(address for address in addresses if address)
        return Running(deployment_id=desired.deployment_id, number=desired.number, runtime="docker", addresses=dialled)

    def drain(self, environment_id: str, keep: Desired | None, log: Log) -> None:
        kept = set(self.names(keep)) if keep else set()
        ending = [box for box in self._listed(environment_id) if _name(box) not in kept and not _running_one_off(box)]
        if not ending:
            return
        _together([partial(self._quiet_and_stop, box, log) for box in ending], Cancel())
        self._keep_output(ending)
        for box in ending:
            self._docker.remove(box["Id"])
            log(f"{_name(box)} is stopped and removed")

    def settle(self, desired: Desired) -> None:
        for name in self.names(desired):
            container = self._docker.inspect(name)
            if container and not _settled(container):
                self._docker.set_restart(name, "unless-stopped")

    def observe(self, environment_id: str | None = None, *, memory: bool = False) -> tuple[Replica, ...]:
        """What runs, in one environment or in all. `memory` measures each running replica too."""
        found = (self._docker.inspect(box["Id"]) for box in self._listed(environment_id) if not label(box, containers.ONE_OFF))
        return tuple(containers.replica(box, self._memory(box) if memory else None) for box in found if box)

    def logs(self, environment_id: str, tail: int, follow: bool, cancel: Cancel) -> Iterator[str]:
        if follow:
            return (str(line) for line in output.follow(self._docker, lambda: self._listed(environment_id), tail, cancel))
        return iter([str(line) for line in output.last_lines(self._docker, self._listed(environment_id), tail)])

    def run(self, desired: Desired, env: Mapping[str, str], argv: Sequence[str], log: Log) -> int:
        self._network(desired)
        slot = Slot(name=f"hp-{self._data}-run-{uuid.uuid4().hex[:12]}", process="run", index=0, command=None, port=None)
        config = containers.one_off(containers.body(desired, slot, env, self._rules()), argv)
        container = self._docker.create(slot.name, config)
        try:
            self._docker.start(container)
            for line in output.lines_of(self._docker.follow(container, 0, Cancel())):
                log(output.read(line, "run").text)
            return self._exit_code(container)
        finally:
            self._docker.remove(container)

    def strays(self, environment_ids: Collection[str], *, remove: bool = False) -> tuple[str, ...]:
        boxes = [box for box in self._listed(None) if label(box, containers.ENVIRONMENT) not in environment_ids]
        networks = [network for network in self._networks() if label(network, containers.ENVIRONMENT) not in environment_ids]
        if remove:
            for box in boxes:
                self._docker.remove(box["Id"])
            for network in networks:
                self._remove_network(network)
        return (*(_name(box) for box in boxes), *(network["Name"] for network in networks))

    def halt(self) -> int:
        running = [box for box in self._listed(None) if box["State"] in ("running", "restarting")]
        _together([partial(self._stop, box["Id"]) for box in running], Cancel())
        return len(running)

    def forget(self, project_id: str, environment_id: str) -> None:
        self.collect(project_id, ())
        for network in self._networks():
            if label(network, containers.ENVIRONMENT) == environment_id:
                self._remove_network(network)

    def collect(self, project_id: str, keep: Collection[str]) -> int:
        images = self._docker.images(containers.ours(self._data, **{containers.PROJECT: project_id}))
        doomed = [tag for image in images for tag in image.get("RepoTags") or () if tag not in keep]
        untagged = [image["Id"] for image in images if not image.get("RepoTags")]
        if not doomed and not untagged:
            return 0
        before = self._docker.layers_size()
        for reference in (*doomed, *untagged):
            self._docker.remove_image(reference)
        return max(0, before - self._docker.layers_size())

    # how

    def _rules(self) -> Rules:
        drivers = (self._docker.traits().get("Plugins") or {}).get("Log") or ("local",)
        driver = "local" if "local" in drivers else "json-file"
        return Rules(data=self._data, memory=self._settings.app_memory, log_driver=driver)

    def _slots(self, desired: Desired) -> tuple[Slot, ...]:
        image = self._docker.image(desired.image.tag) or {}
        slots = containers.slots(desired, self._data, image)
        if sum(slot.process == "web" for slot in slots) > UPSTREAMS:
            raise BadInput(
                f"web can run at most {UPSTREAMS} copies on one machine.",
                hint=f"`homeport scale {desired.project} web={UPSTREAMS}`, or give each copy more memory and CPU.",
            )
        return slots

    def _network(self, desired: Desired) -> str:
        name = containers.network_name(desired, self._data)
        with self._networking:
            networks = self._docker.networks()
            if ours := next(containers.subnets_of(network for network in networks if network["Name"] == name), None):
                return ours
            pool = self._settings.network_pool
            taken = [*containers.subnets_of(networks), *containers.routed_subnets(containers.routes(), pool)]
            labels = containers.ours(self._data, **{containers.ENVIRONMENT: desired.environment_id})
            for subnet in containers.free_subnets(pool, taken):
                if self._created(name, subnet, labels):
                    return subnet
        raise Unavailable(f"No free network is left in {pool}.", hint="Set network_pool in server.toml to another private range.")

    def _created(self, name: str, subnet: str, labels: dict[str, str]) -> bool:
        try:
            self._docker.create_network(name, subnet, labels)
        except Conflict:
            return True
        except EngineRefused as error:
            if "overlap" in error.cause.lower():
                return False
            raise
        return True

    def _discard(self, desired: Desired) -> None:
        """Remove what is a candidate still: a settled replica of the same names serves, and stays."""
        for name in self.names(desired):
            container = self._docker.inspect(name)
            if container and not _settled(container):
                self._docker.remove(name)

    def _listed(self, environment_id: str | None) -> list[Json]:
        more = {containers.ENVIRONMENT: environment_id} if environment_id else {}
        return self._docker.containers(containers.ours(self._data, **more))

    def _networks(self) -> list[Json]:
        return [network for network in self._docker.networks() if label(network, containers.DATA) == self._data]

    def _remove_network(self, network: Json) -> None:
        with suppress(EngineRefused):  # a container is on it still; it goes with the next look
            self._docker.remove_network(network["Id"])

    def _stop(self, container: str) -> None:
        found = self._docker.inspect(container)
        self._docker.stop(container, _stop_timeout(found) if found else 0)

    def _quiet_and_stop(self, box: Json, log: Log) -> None:
        container = self._docker.inspect(box["Id"])
        if container is None:
            return
        timeout = _stop_timeout(container)
        address = containers.address_of(container)
        if address and container["State"]["Running"]:
            waited = wait_until_quiet(container["State"]["Pid"], address, timeout)
            log(f"{_name(box)}: no request in flight after {waited:.1f} s")
        self._docker.stop(box["Id"], timeout)

    def _keep_output(self, ended: list[Json]) -> None:
        for project, number in {(label(box, containers.PROJECT), label(box, "homeport.number")) for box in ended}:
            same = [box for box in ended if (label(box, containers.PROJECT), label(box, "homeport.number")) == (project, number)]
            lines = output.last_lines(self._docker, same, KEPT_LINES)
            _write(self._settings.root / "logs" / project / f"{number}.app.log", lines)

    def _memory(self, container: Json) -> int | None:
        if container["State"]["Status"] != "running":
            return None
        with suppress(NotFound):
            return int((self._docker.stats(container["Id"]).get("memory_stats") or {}).get("usage") or 0)
        return None

    def _exit_code(self, container: str) -> int:
        while (found := self._docker.inspect(container)) and found["State"]["Running"]:
            time.sleep(0.05)
        return int(found["State"]["ExitCode"]) if found else 137


class _Launch:
    """One call of start: what every replica of it shares."""

    def __init__(self, docker: Docker, desired: Desired, env: Mapping[str, str], rules: Rules, stop: Cancel) -> None:
        self._docker = docker
        self._desired = desired
        self._env = env
        self._rules = rules
        self._stop = stop

    def up(self, slot: Slot, log: Log) -> str | None:
        """The replica, running and well; its address when it serves."""
        self._stop.raise_if_set()
        self._running(slot)
        if slot.port is None:
            self._keeps_running(slot)
            return None
        return self._answers(slot, log)

    def _running(self, slot: Slot) -> None:
        found = self._docker.inspect(slot.name)
        if found and not self._may_stay(found):
            self._docker.remove(slot.name)
            found = None
        if found and found["State"]["Status"] == "running":
            return
        try:
            if found is None:
                self._docker.create(slot.name, containers.body(self._desired, slot, self._env, self._rules))
            self._docker.start(slot.name)
        except (EngineRefused, NotFound) as error:
            raise diagnose(self._evidence(slot, start_error=error.cause)) from error

    def _may_stay(self, found: Json) -> bool:
        """Whether a container of the right name is the right one: of this deployment and image, running or to be started."""
        right = label(found, "homeport.deployment") == self._desired.deployment_id
        status = found["State"]["Status"]
        alive = status in ("running", "created") or (status == "exited" and _settled(found))
        return right and alive and found["Config"]["Image"] == self._desired.image.tag

    def _keeps_running(self, slot: Slot) -> None:
        if _settled(self._must_run(slot)):
            return
        until = time.monotonic() + WORKER_SECONDS
        while time.monotonic() < until:
            self._must_run(slot)
            self._stop.wait(FIRST_PAUSE * 2)
            self._stop.raise_if_set()
        self._must_run(slot)

    def _must_run(self, slot: Slot, status: int | None = None) -> Json:
        found = self._docker.inspect(slot.name)
        if found is None or found["State"]["Status"] != "running":
            raise diagnose(self._evidence(slot, status=status))
        return found

    def _answers(self, slot: Slot, log: Log) -> str:
        """Wait until it answered well twice in a row: asked at once, then ever slower, up to the plan's interval."""
        health = self._desired.plan.health
        deadline = time.monotonic() + health.timeout
        name = self._desired.domains[0] if self._desired.domains else "localhost"
        pause, well, status = FIRST_PAUSE, 0, None
        while True:
            found = self._must_run(slot, status)
            host, _, port = (containers.address_of(found) or "").partition(":")
            left = deadline - time.monotonic()
            answer = asking.ask(host, int(port), health.path or "/", name, max(0.1, min(5.0, left))) if host else None
            status = answer or status
            well = well + 1 if asking.is_well(answer, health) else 0
            if well == 2:
                log(f"{slot.process}.{slot.index} answers {status} at {host}:{port}")
                return f"{host}:{port}"
            if time.monotonic() >= deadline:
                raise diagnose(self._evidence(slot, status=status))
            pause = FIRST_PAUSE if well else min(pause * 1.5, max(health.interval, FIRST_PAUSE))
            self._stop.wait(pause)
            self._stop.raise_if_set()

    def _evidence(self, slot: Slot, *, start_error: str = "", status: int | None = None) -> Evidence:
        found = self._docker.inspect(slot.name)
        state = found["State"] if found else {}
        running = state.get("Status") == "running"
        plan = self._desired.plan
        return Evidence(
            project=self._desired.project,
            process=slot.process,
            command=slot.command or plan.start,
            image=self._desired.image.tag,
            port=slot.port,
            listening=sockets.listening(state["Pid"]) if running else None,
            running=running,
            exit_code=None if running or not found or start_error else state.get("ExitCode"),
            oom=bool(state.get("OOMKilled")),
            memory=plan.memory or self._rules.memory,
            log_tail=tuple(line.partition(" ")[2] for line in self._docker.tail(slot.name, EVIDENCE_LINES)) if found else (),
            health_path=plan.health.path,
            health_status=status,
            health_timeout=plan.health.timeout,
            start_error=start_error,
            env_keys=frozenset(containers.environment_of(self._desired, slot, self._env)),
        )


def wait_until_quiet(pid: int, address: str, timeout: float) -> float:
    """Wait until two looks in a row, 0.1 s apart, see no connection to `address`, at most `timeout`. Returns how long it took."""
    host, _, port = address.partition(":")
    started = time.monotonic()
    quiet = 0
    while quiet < 2 and time.monotonic() - started < timeout:
        quiet = quiet + 1 if sockets.connections(pid, host, int(port)) == 0 else 0
        if quiet < 2:
            time.sleep(0.1)
    return time.monotonic() - started


def _together(calls: Sequence[Callable[[], T]], stop: Cancel) -> list[T]:
    """All of them at once. The first error stops the others, and is raised when every one has ended."""
    if not calls:
        return []
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(calls))) as pool:
        futures: list[Future[T]] = [pool.submit(call) for call in calls]
        wait(futures, return_when=FIRST_EXCEPTION)
        if any(future.done() and future.exception() for future in futures):
            stop.set()
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise next((error for error in errors if not isinstance(error, Canceled)), errors[0])
    return [future.result() for future in futures]


def _stop_timeout(container: Json) -> float:
    return float(label(container, "homeport.stop-timeout") or 10)


def _settled(container: Json) -> bool:
    return bool(container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped")


def _name(box: Json) -> str:
    return str(box["Names"][0]).removeprefix("/")


def _running_one_off(box: Json) -> bool:
    return bool(label(box, containers.ONE_OFF)) and box["State"] == "running"


def _write(path: Path, lines: list[output.Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
    new.replace(path)
