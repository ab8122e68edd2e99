"""A network namespace with a Docker engine of its own, whose way out can be taken away: for what must work without a network.

The engine's containers are inside too, so nothing that the box asks of it can reach anything either.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.box import Place, wait_until


def sh(argv: Sequence[str], *, check: bool = True, timeout: float = 300) -> str:
    """What `argv` printed; fails with what it said when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def docker_cli() -> str:
    """Any docker command: only the engine's API is asked."""
    found = shutil.which("docker")
    assert found is not None
    return found


class Machine:
    """Namespace, veth and NAT, dockerd. Use `with Machine.running() as machine`."""

    def __init__(self) -> None:
        number = random.randrange(1, 250)
        self.name = f"hpt{os.getpid() % 100000}"
        self.outside, self.inside = f"10.91.{number}.1", f"10.91.{number}.2"
        self.network = f"10.91.{number}.0/30"
        self.folder = Path(tempfile.mkdtemp(prefix="hp-engine-", dir="/tmp"))
        self.engine = f"unix://{self.folder}/docker.sock"
        self._dockerd: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Machine]:
        machine = cls()
        try:
            machine._make_network()
            machine._start_engine()
            yield machine
        finally:
            machine._stop()

    @property
    def prefix(self) -> tuple[str, ...]:
        """argv that enters the network namespace; cgroups and folders stay those of the host."""
        return ("nsenter", f"--net=/run/netns/{self.name}", "--")

    @property
    def place(self) -> Place:
        return Place(self.prefix, self.inside, "", {"DOCKER_HOST": self.engine})

    def load_images(self, references: Sequence[str]) -> None:
        """Bring images of the host's engine here."""
        load = [docker_cli(), "--host", self.engine, "load"]
        with subprocess.Popen([docker_cli(), "save", *references], stdout=subprocess.PIPE) as save:
            done = subprocess.run(load, stdin=save.stdout, capture_output=True, text=True, timeout=600)
        assert save.returncode == 0
        assert done.returncode == 0, done.stderr

    @contextmanager
    def no_routes(self) -> Iterator[None]:
        """Without a default route: only the containers' networks and the link to this test are left."""
        sh(["ip", "-n", self.name, "route", "del", "default"])
        try:
            left = sh(["ip", "-n", self.name, "route", "get", "192.0.2.99"], check=False)
            assert left == "", f"there is still a way out: {left}"
            yield
        finally:
            sh(["ip", "-n", self.name, "route", "add", "default", "via", self.outside])

    def prune_builder(self) -> None:
        """Forget every build layer and cache mount."""
        sh([docker_cli(), "--host", self.engine, "builder", "prune", "--all", "--force"])

    def _rules(self, verb: str) -> list[list[str]]:
        return [
            ["iptables", "-t", "nat", verb, "POSTROUTING", "-s", self.network, "-j", "MASQUERADE"],
            ["iptables", verb, "FORWARD", "-i", self.name, "-j", "ACCEPT"],
            ["iptables", verb, "FORWARD", "-o", self.name, "-j", "ACCEPT"],
        ]

    def _make_network(self) -> None:
        inside = ["ip", "-n", self.name]
        sh(["ip", "netns", "add", self.name])
        sh(["ip", "link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name])
        sh(["ip", "address", "add", f"{self.outside}/30", "dev", self.name])
        sh(["ip", "link", "set", self.name, "up"])
        sh([*inside, "address", "add", f"{self.inside}/30", "dev", "eth0"])
        sh([*inside, "link", "set", "eth0", "up"])
        sh([*inside, "link", "set", "lo", "up"])
        sh([*inside, "route", "add", "default", "via", self.outside])
        for rule in self._rules("-I"):
            sh(rule)

    def _start_engine(self) -> None:
        folders = ["--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        argv = [*self.prefix, "dockerd", *folders, "--host", self.engine, "--pidfile", f"{self.folder}/pid"]
        with (self.folder / "log").open("wb") as log:
            self._dockerd = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, "the engine of the namespace answers", 60, every=0.2)

    def _answers(self) -> bool:
        assert self._dockerd is not None
        assert self._dockerd.poll() is None, (self.folder / "log").read_text()[-3000:]
        return "ID:" in sh([docker_cli(), "--host", self.engine, "info"], check=False)

    def _stop(self) -> None:
        if self._dockerd is not None:
            self._dockerd.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._dockerd.wait(60)
            self._dockerd.kill()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if str(self.folder) in line:
                sh(["umount", "--lazy", line.split()[1]], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        for rule in self._rules("-D"):
            sh(rule, check=False)
        sh(["ip", "netns", "delete", self.name], check=False)
        sh(["ip", "link", "delete", self.name], check=False)
