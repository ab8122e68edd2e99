"""What the Docker runtime decides, as values: names, labels, the body of a container, the subnet of a network."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.detection.dockerfile import shell_argv
from app.model import Desired, Replica, truncated_label
from app.settings import Settings

Json = dict[str, Any]

MANAGED = "homeport.managed"
DATA = "homeport.data"
ORGANIZATION = "homeport.organization"
PROJECT = "homeport.project"
ENVIRONMENT = "homeport.environment"
ONE_OFF = "homeport.one-off"
PIDS = 512
DEFAULT_PORT = 8080
NANO = 1_000_000_000


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One replica that should exist. `port` is where it serves, None for workers."""

    name: str
    process: str
    index: int
    command: str | None
    port: int | None
    address: str | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the box decides for every container: its own mark, the memory of one that asks for none, the log driver."""

    data: str
    memory: int
    log_driver: str = "local"


def data_id(settings: Settings) -> str:
    """8 hex that tell this box's things from those of another box on the same engine."""
    return hashlib.sha256(str(settings.root.resolve()).encode()).hexdigest()[:8]


def ours(data: str, **more: str) -> dict[str, str]:
    """The labels that mark a thing as this box's."""
    return {MANAGED: "1", DATA: data, **more}


def slots(desired: Desired, data: str, image: Json) -> tuple[Slot, ...]:
    """Every replica that `desired` wants. `image` is the engine's description of its image; {} when only names matter."""
    return tuple(
        Slot(
            name=replica_name(desired, data, process.name, index),
            process=process.name,
            index=index,
            command=process.command,
            port=web_port(desired, image) if process.name == "web" else None,
        )
        for process in desired.processes
        for index in range(process.replicas)
    )


def replica_name(desired: Desired, data: str, process: str, index: int) -> str:
    """`hp-<box>-<project>-<environment>-<number>-<process>-<index>`, and how often a restart was asked, when it was."""
    again = f"-r{desired.restarts}" if desired.restarts else ""
    return _label(f"hp-{data}-{desired.name}-{desired.number}-{process}-{index}{again}")


def network_name(desired: Desired, data: str) -> str:
    """`hp-<box>-<project>-<environment>`."""
    return _label(f"hp-{data}-{desired.name}")


def web_port(desired: Desired, image: Json) -> int:
    """Where web serves: the plan's port, else the one that the image exposes, else 8080."""
    if desired.plan.port:
        return desired.plan.port
    exposed = [text.partition("/")[0] for text in (image.get("Config") or {}).get("ExposedPorts") or {}]
    return int(exposed[0]) if len(exposed) == 1 and exposed[0].isdigit() else DEFAULT_PORT


def labels(desired: Desired, slot: Slot, data: str) -> dict[str, str]:
    """What a replica says of itself. Never env: labels are open to everybody on the engine."""
    return {
        **ours(data),
        ORGANIZATION: desired.organization_id,
        PROJECT: desired.project_id,
        ENVIRONMENT: desired.environment_id,
        "homeport.deployment": desired.deployment_id,
        "homeport.number": str(desired.number),
        "homeport.process": slot.process,
        "homeport.index": str(slot.index),
        "homeport.restarts": str(desired.restarts),
        "homeport.image": desired.image.tag,
        "homeport.port": str(slot.port or ""),
        "homeport.stop-timeout": f"{desired.plan.stop_timeout:g}",
    }


def environment_of(desired: Desired, slot: Slot, env: Mapping[str, str]) -> dict[str, str]:
    """The plan's defaults, then the environment's own variables, then PORT where the replica serves."""
    port = {"PORT": str(slot.port)} if slot.port else {}
    return {**desired.plan.env, **env, **port}


def body(desired: Desired, slot: Slot, env: Mapping[str, str], rules: Rules) -> Json:
    """The engine's create body of a replica. It does not restart by itself until it is settled."""
    config: Json = {
        "Image": desired.image.tag,
        "Env": [f"{key}={value}" for key, value in sorted(environment_of(desired, slot, env).items())],
        "Labels": labels(desired, slot, rules.data),
        "StopTimeout": round(desired.plan.stop_timeout),
        "HostConfig": host_config(desired, rules),
        "NetworkingConfig": {"EndpointsConfig": {network_name(desired, rules.data): endpoint(slot)}},
    }
    if slot.command is not None:
        config["Entrypoint"] = shell_argv(slot.command)
    return config


def endpoint(slot: Slot) -> Json:
    """A replica's place in its network. A fixed address outlives a restart of the engine, and the route goes on naming it."""
    return {"IPAMConfig": {"IPv4Address": slot.address}} if slot.address else {}


def addressed(slots: Sequence[Slot], subnet: str, network: str, listed: Iterable[Json]) -> tuple[Slot, ...]:
    """The slots with their addresses: what a container of that name has, else the first that no container of the network has."""
    held = {str(box["Names"][0]).removeprefix("/"): _fixed(box, network) for box in listed}
    hosts = (str(host) for host in list(ipaddress.ip_network(subnet).hosts())[1:])
    free = (host for host in hosts if host not in held.values())
    return tuple(msgspec.structs.replace(slot, address=held.get(slot.name) or next(free, None)) for slot in slots)


def _fixed(box: Json, network: str) -> str | None:
    there = ((box.get("NetworkSettings") or {}).get("Networks") or {}).get(network) or {}
    return (there.get("IPAMConfig") or {}).get("IPv4Address") or there.get("IPAddress") or None


def one_off(config: Json, argv: Sequence[str]) -> Json:
    """The body of one command in a container like `config`'s."""
    return {**config, "Entrypoint": list(argv), "Labels": {**config["Labels"], ONE_OFF: "1"}}


def host_config(desired: Desired, rules: Rules) -> Json:
    """Limits, logs and network. Swap counts as memory, so that the limit means what it says."""
    memory = desired.plan.memory or rules.memory
    cpu = {"NanoCpus": int(desired.plan.cpu * NANO)} if desired.plan.cpu else {}
    return {
        "NetworkMode": network_name(desired, rules.data),
        "Memory": memory,
        "MemorySwap": memory,
        **cpu,
        "PidsLimit": PIDS,
        "Init": True,
        "SecurityOpt": ["no-new-privileges"],
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": rules.log_driver, "Config": {"max-size": "10m", "max-file": "3"}},
    }


def free_subnets(pool: str, taken: Iterable[str]) -> Iterator[str]:
    """The /26 subnets of `pool` that overlap none of `taken`, in order."""
    used = [ipaddress.ip_network(text, strict=False) for text in taken]
    same = [network for network in used if isinstance(network, ipaddress.IPv4Network)]
    for subnet in ipaddress.IPv4Network(pool).subnets(new_prefix=26):
        if not any(subnet.overlaps(network) for network in same):
            yield str(subnet)


def subnets_of(networks: Iterable[Json]) -> Iterator[str]:
    """The subnets that the engine's networks hold."""
    for network in networks:
        for entry in (network.get("IPAM") or {}).get("Config") or ():
            if entry.get("Subnet"):
                yield str(entry["Subnet"])


def routed_subnets(table: str, pool: str) -> Iterator[str]:
    """The parts of `pool` that this machine routes somewhere already (VPNs, its own network), out of /proc/net/route.

    A wider route, 10.0.0.0/8 to a VPN say, does no harm: ours are more specific.
    """
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        route = ipaddress.IPv4Network((address, mask.bit_count()))
        if route.subnet_of(ipaddress.IPv4Network(pool)):
            yield str(route)


def routes() -> str:
    """This machine's routing table."""
    try:
        return Path("/proc/net/route").read_text()
    except OSError:
        return ""


def address_of(container: Json) -> str | None:
    """host:port to dial, None for one that serves nothing or is on no network."""
    port = label(container, "homeport.port")
    host = next((ip for network in _networks(container) if (ip := network.get("IPAddress"))), None)
    return f"{host}:{port}" if host and port else None


def replica(container: Json, memory: int | None = None) -> Replica:
    """What the engine says of a container (its inspection), as a Replica."""
    state = container["State"]
    kind = state["Status"]
    return Replica(
        process=label(container, "homeport.process"),
        index=int(label(container, "homeport.index") or 0),
        id=container["Id"],
        address=address_of(container),
        state="running" if kind == "running" else "restarting" if kind == "restarting" else "exited",
        number=int(label(container, "homeport.number") or 0),
        exit_code=None if kind == "running" else state.get("ExitCode"),
        restarts=int(container.get("RestartCount") or 0),
        memory=memory,
        restarts_handled=int(label(container, "homeport.restarts") or 0),
    )


def label(container: Json, key: str) -> str:
    """A label of an inspected or listed container, empty when it has none."""
    found = container.get("Labels") or (container.get("Config") or {}).get("Labels") or {}
    return str(found.get(key) or "")


def _networks(container: Json) -> Iterable[Json]:
    return ((container.get("NetworkSettings") or {}).get("Networks") or {}).values()


def _label(name: str) -> str:
    return truncated_label(name, hashlib.sha256(name.encode()).hexdigest())
