"""The Docker engine: its API through the SDK, its builder through a docker CLI. Dicts go in and come out.

Every call has a timeout. What the SDK raises leaves here as one of our errors, in words.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from app.adapters import buildkit, cgroup, process
from app.adapters.buildkit import Build, Built, Cli
from app.adapters.process import Cancel
from app.errors import Conflict, HomeportError, NotFound, OutOfSpace, Unavailable
from app.settings import Settings

Json = dict[str, Any]
Log = Callable[[str], None]

CALL_TIMEOUT = 30.0
"""Seconds that the engine has to answer one call."""
REGISTRY_TIMEOUT = 20.0
"""Seconds of silence after which a registry counts as not reached."""
LONG_TIMEOUT = 600.0
"""Seconds for calls that move whole images."""
DEFAULT_HOST = "unix:///var/run/docker.sock"


class EngineRefused(HomeportError):
    """The engine answered that it cannot or will not do this; the cause is what it said."""

    status, code, title = 502, "engine-refused", "The Docker engine refused"


class Docker:
    """One engine. Safe to use from several threads; connects at the first call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connecting = threading.Lock()
        self._clients: dict[float, Any] = {}
        self._cli: Cli | None = None
        self._info: Json | None = None
        self._slots = threading.BoundedSemaphore(settings.build_slots)
        self._limits: list[int] = []

    @property
    def host(self) -> str:
        """Where the engine listens."""
        return self._settings.docker_host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST

    def close(self) -> None:
        """Hang up. The next call connects again."""
        with self._connecting:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def info(self) -> Json:
        """What the engine says of itself, asked anew."""
        with _words("describe the engine"):
            self._info = self._client().info()
        return self._info

    def traits(self) -> Json:
        """What the engine says of itself, asked once: for what does not change while it runs."""
        return self._info or self.info()

    def version(self) -> str:
        """The engine's version, e.g. `20.10.24`."""
        return str(self.info().get("ServerVersion") or "unknown")

    # containers

    def create(self, name: str, config: Json) -> str:
        """A container of this exact config (the engine's create body). Returns its id; Conflict when the name is taken."""
        with _words(f"create the container {name}"):
            return str(self._client().create_container_from_config(config, name)["Id"])

    def start(self, container: str) -> None:
        """Start it; nothing happens to one that runs."""
        with _words(f"start the container {container}"):
            self._client().start(container)

    def stop(self, container: str, timeout: float) -> None:
        """Ask it to stop, and kill it after `timeout` seconds. One that is gone or ended is fine."""
        with suppress(NotFound), _words(f"stop the container {container}"):
            self._client().stop(container, timeout=max(0, round(timeout)))

    def kill(self, container: str) -> None:
        """End it at once. One that is gone or ended is fine."""
        with suppress(NotFound, Conflict), _words(f"kill the container {container}"):
            self._client().kill(container)

    def remove(self, container: str) -> None:
        """Remove it, running or not, with its anonymous volumes. One that is gone is fine."""
        with suppress(NotFound, Conflict), _words(f"remove the container {container}"):
            self._client().remove_container(container, v=True, force=True)

    def inspect(self, container: str) -> Json | None:
        """All about it by name or id, None when there is none."""
        with suppress(NotFound), _words(f"inspect the container {container}"):
            return dict(self._client().inspect_container(container))
        return None

    def containers(self, labels: Mapping[str, str]) -> list[Json]:
        """Every container, ended ones too, that carries all these labels."""
        with _words("list containers"):
            return list(self._client().containers(all=True, filters={"label": _label_filter(labels)}))

    def wait(self, container: str, timeout: float) -> int:
        """Its exit code once it ended. Unavailable when it still runs after `timeout` seconds."""
        with _words(f"wait for the container {container}"):
            return int(self._client().wait(container, timeout=timeout)["StatusCode"])

    def set_restart(self, container: str, policy: str) -> None:
        """Change its restart policy (`no`, `unless-stopped`)."""
        with _words(f"update the container {container}"):
            self._client().update_container(container, restart_policy={"Name": policy})

    def stats(self, container: str) -> Json:
        """One sample of its memory and CPU, without waiting for a second."""
        with _words(f"measure the container {container}"):
            return dict(self._client().stats(container, stream=False, one_shot=True))

    def tail(self, container: str, lines: int) -> list[str]:
        """Its last lines of output, both streams merged, each behind its time and a space. None of one that is gone."""
        output = b""
        with suppress(NotFound), _words(f"read the output of {container}"):
            output = self._client().logs(container, tail=lines, timestamps=True)
        return output.decode("utf-8", "replace").splitlines()

    def follow(self, container: str, since: int, cancel: Cancel) -> Iterator[bytes]:
        """Its output from the second `since` on (0 is the start), in chunks as they come, each line behind its time.

        Ends when the container does, or once `cancel` is set.
        """
        with _words(f"follow the output of {container}"):
            stream = self._client().logs(container, stream=True, follow=True, timestamps=True, since=since or None)
        forget = cancel.on_set(lambda: _hang_up(stream))
        try:
            yield from stream
        except (OSError, ValueError, AttributeError):
            if not cancel.is_set():  # hanging up from another thread makes reading raise any of these
                raise
        finally:
            forget()
            _hang_up(stream)

    # networks

    def networks(self) -> list[Json]:
        """Every network of the engine, not only ours: their subnets must not overlap."""
        with _words("list networks"):
            return list(self._client().networks())

    def create_network(self, name: str, subnet: str, labels: Mapping[str, str]) -> None:
        """A bridge network. EngineRefused when its subnet overlaps another, Conflict when the name is taken."""
        ipam = {"Driver": "default", "Config": [{"Subnet": subnet}]}
        with _words(f"create the network {name}"):
            self._client().create_network(name, driver="bridge", ipam=ipam, labels=dict(labels), check_duplicate=True)

    def remove_network(self, network: str) -> None:
        """Remove it; gone is fine, EngineRefused while containers are on it."""
        with suppress(NotFound), _words(f"remove the network {network}"):
            self._client().remove_network(network)

    # images

    def image(self, reference: str) -> Json | None:
        """All about an image of this machine by tag or id, None when there is none."""
        with suppress(NotFound), _words(f"inspect the image {reference}"):
            return dict(self._client().inspect_image(reference))
        return None

    def images(self, labels: Mapping[str, str]) -> list[Json]:
        """Every image that carries all these labels; an empty value asks for the key alone."""
        with _words("list images"):
            return list(self._client().images(filters={"label": _label_filter(labels)}))

    def remove_image(self, reference: str) -> bool:
        """Remove it. False when it was gone already, or something still uses it."""
        try:
            with _words(f"remove the image {reference}"):
                self._client().remove_image(reference)
        except (NotFound, Conflict):
            return False
        return True

    def layers_size(self) -> int:
        """Bytes of all image layers, each counted once."""
        with _words("measure the disk"):
            return int(self._client(LONG_TIMEOUT).df().get("LayersSize") or 0)

    def registry_has(self, reference: str) -> None:
        """Ask the registry for an image without pulling. NotFound, Unavailable or EngineRefused with the words of the engine."""
        with _words(f"ask the registry for {reference}"):
            self._client(REGISTRY_TIMEOUT / 4).inspect_distribution(reference)

    def pull(self, reference: str, log: Log, cancel: Cancel) -> None:
        """Pull an image. NotFound, Unavailable or EngineRefused with the words of the engine or the registry."""
        name, tag = name_and_tag(reference)
        with _words(f"pull {reference}"):
            for event in self._client(REGISTRY_TIMEOUT).pull(name, tag=tag, stream=True, decode=True):
                cancel.raise_if_set()
                if "error" in event:
                    raise EngineRefused(str(event["error"]))
                if event.get("status") == "Pull complete":
                    log(f"{reference}: layer {event.get('id', '')} is here")

    def import_rootfs(self, archive: Path, reference: str, changes: list[str]) -> None:
        """An image of one layer out of a root file system; `changes` are Dockerfile instructions (ENV, LABEL, CMD)."""
        name, tag = name_and_tag(reference)
        with _words(f"import {reference}"):
            self._client(LONG_TIMEOUT).import_image(str(archive), repository=name, tag=tag, changes=changes)

    # builds

    def find_cli(self) -> Cli:
        """A docker CLI that has BuildKit, looked for once. Raises Unavailable in words when there is none."""
        if self._cli is None:
            self._cli = buildkit.find_cli(self._settings.docker_cli, os.environ.get("PATH", ""))
        return self._cli

    @contextmanager
    def build_slot(self, log: Log, cancel: Cancel) -> Iterator[None]:
        """Hold one of the box's build slots; waits for one, and says so."""
        if not self._slots.acquire(blocking=False):
            log(f"waiting for a build slot: {self._settings.build_slots} builds run already")
            while not self._slots.acquire(timeout=0.2):
                cancel.raise_if_set()
        try:
            yield
        finally:
            self._slots.release()

    def build(self, build: Build, log: Log, cancel: Cancel) -> Built:
        """Build with BuildKit, capped; a failed build is a result. Raises TimedOut and Canceled once the build has ended."""
        cli = self.find_cli()
        memory = build.memory or self._settings.build_memory
        progress = buildkit.Progress(log)
        with self._capped(memory, log) as group:
            before = cgroup.pressure(group) if group else 0
            words = buildkit.argv(cli, build, group.option if group else None)
            words = buildkit.tied(words, shutil.which("setpriv"))
            environment = buildkit.env(self.host)
            code = process.stream(words, on_line=progress.feed, env=environment, timeout=build.timeout, cancel=cancel)
            built = progress.built(code)
            oom = code != 0 and group is not None and cgroup.ran_out(group, before, built.step_exit_code, built.tail)
        return msgspec.structs.replace(built, oom=oom, memory=memory)

    def build_caps(self) -> str | None:
        """Why builds cannot be capped on this machine, None when they are. For doctor."""
        try:
            group = self._build_group()
        except HomeportError as error:
            return error.cause
        return group if isinstance(group, str) else cgroup.apply(group, *self._caps())

    @contextmanager
    def _capped(self, memory: int, log: Log) -> Iterator[cgroup.BuildGroup | None]:
        group = self._build_group()
        with self._lock:
            self._limits.append(memory)
            reason = group if isinstance(group, str) else cgroup.apply(group, *self._caps())
        if reason:
            log(f"note: this build is not capped in memory and CPU: {reason}")
        try:
            yield None if reason or isinstance(group, str) else group
        finally:
            with self._lock:
                self._limits.remove(memory)
                if not isinstance(group, str):
                    cgroup.apply(group, *self._caps())

    def _caps(self) -> tuple[int, float]:
        # One group holds all builds, so its limit is what the most demanding of them may take.
        return max(self._limits, default=self._settings.build_memory), self._settings.build_cpus

    def _build_group(self) -> cgroup.BuildGroup | str:
        if not self.host.startswith("unix:"):
            return "the engine is not on this machine"
        return cgroup.locate(self.traits(), buildx=self.find_cli().buildx, parent=_cgroup_parent())

    def _client(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - the SDK has no types
        timeout = timeout or CALL_TIMEOUT
        with self._connecting:
            if timeout not in self._clients:
                import docker

                _knock(self.host)
                self._clients[timeout] = docker.APIClient(base_url=self.host, version="auto", timeout=timeout)
            return self._clients[timeout]


def name_and_tag(reference: str) -> tuple[str, str]:
    """`python:3.11` as ("python", "3.11"); without a tag it means `latest`, never all of them."""
    last = reference.rsplit("/", 1)[-1]
    name, _, tag = reference.rpartition(":") if ":" in last else (reference, "", "latest")
    return name, tag


@contextmanager
def _words(doing: str) -> Iterator[None]:
    """What the SDK raises, as ours: NotFound, Conflict, OutOfSpace, EngineRefused, or Unavailable when nobody answers."""
    import docker.errors
    import requests
    import urllib3

    try:
        yield
    except docker.errors.APIError as error:
        raise _refusal(error.status_code, str(error.explanation or error)) from error
    except (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(
            f"The Docker engine does not answer (asked to {doing}): {error}",
            hint="See whether it runs (`systemctl status docker`), then try again.",
        ) from error


def _refusal(status: int | None, said: str) -> HomeportError:
    if "no space left on device" in said:
        return OutOfSpace(f"The Docker engine has no disk space left: {said}")
    if status == 404:
        return NotFound(said)
    return Conflict(said) if status == 409 else EngineRefused(said)


def _knock(host: str) -> None:
    # The SDK leaves a socket open when nobody listens; so look first.
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CALL_TIMEOUT)
            probe.connect(host.removeprefix("unix://"))


def _hang_up(stream: Any) -> None:  # noqa: ANN401 - the SDK has no types
    # The other side may have closed it first, in any of the ways that a socket can be closed.
    with suppress(OSError, AttributeError, ValueError):
        stream.close()


def _label_filter(labels: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" if value else key for key, value in labels.items()]


def _cgroup_parent() -> str | None:
    try:
        value = json.loads(Path("/etc/docker/daemon.json").read_text()).get("cgroup-parent")
    except (OSError, ValueError, AttributeError):
        return None
    return str(value) if value else None
