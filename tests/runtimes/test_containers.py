"""What the Docker runtime decides: exact names, labels, bodies, subnets."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from app.model import Replica
from app.runtimes import containers
from app.runtimes.containers import Rules, Slot
from app.settings import Settings
from tests.wanted import desired, plan, web, worker

RULES = Rules(data="0badcafe", memory=512 << 20)


def slot_of(**changes: Any) -> Slot:
    return Slot(**{"name": "n", "process": "web", "index": 0, "command": None, "port": 8080, **changes})


def test_every_replica_has_a_name_of_its_own() -> None:
    wanted = desired(processes=(web(replicas=2), worker("celery")))
    assert [slot.name for slot in containers.slots(wanted, "0badcafe", {})] == [
        "hp-0badcafe-shop-production-7-web-0",
        "hp-0badcafe-shop-production-7-web-1",
        "hp-0badcafe-shop-production-7-worker-0",
    ]


def test_a_restart_that_was_asked_for_is_a_new_name() -> None:
    names = [slot.name for slot in containers.slots(desired(restarts=2), "0badcafe", {})]
    assert names == ["hp-0badcafe-shop-production-7-web-0-r2"]


def test_long_names_stay_labels_and_apart() -> None:
    names = [containers.replica_name(desired(project="p" * 54, number=n), "0badcafe", "web", 0) for n in (1, 2)]
    assert all(len(name) <= 63 for name in names)
    assert names[0] != names[1]


def test_only_web_serves() -> None:
    slots = containers.slots(desired(processes=(web(), worker("celery"))), "x", {})
    assert [(slot.process, slot.port, slot.command) for slot in slots] == [("web", 8080, None), ("worker", None, "celery")]


@pytest.mark.parametrize(
    ("port", "exposed", "expected"),
    [
        (5000, {"3000/tcp": {}}, 5000),
        (None, {"3000/tcp": {}}, 3000),
        (None, {"1/tcp": {}, "2/tcp": {}}, 8080),
        (None, None, 8080),
    ],
)
def test_the_port_of_web(port: int | None, exposed: dict[str, Any] | None, expected: int) -> None:
    assert containers.web_port(desired(plan=plan(port=port)), {"Config": {"ExposedPorts": exposed}}) == expected


def test_addresses_are_fixed_kept_and_never_given_twice() -> None:
    slots = tuple(slot_of(name=f"n{index}", index=index) for index in range(3))
    listed = [
        {"Names": [f"/{slots[1].name}"], "NetworkSettings": {"Networks": {"net": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}}}}},
        {"Names": ["/older"], "NetworkSettings": {"Networks": {"net": {"IPAMConfig": None, "IPAddress": "10.0.0.3"}}}},
        {"Names": ["/elsewhere"], "NetworkSettings": {"Networks": {"other": {"IPAddress": "10.0.0.4"}}}},
    ]
    given = containers.addressed(slots, "10.0.0.0/29", "net", listed)
    assert [slot.address for slot in given] == ["10.0.0.4", "10.0.0.2", "10.0.0.5"]
    assert containers.endpoint(given[0]) == {"IPAMConfig": {"IPv4Address": "10.0.0.4"}}


def test_the_body_of_a_container() -> None:
    wanted = desired(plan=plan(memory=64 << 20, cpu=0.5, env={"MODE": "plain", "A": "default"}, stop_timeout=12.5))
    body = containers.body(wanted, slot_of(), {"A": "own", "TOKEN": "s3cret"}, RULES)
    assert body == {
        "Image": "hp-shop:1",
        "Env": ["A=own", "MODE=plain", "PORT=8080", "TOKEN=s3cret"],
        "Labels": {
            "homeport.managed": "1",
            "homeport.data": "0badcafe",
            "homeport.organization": "org1",
            "homeport.project": "prj1",
            "homeport.environment": "env1",
            "homeport.deployment": "dep7",
            "homeport.number": "7",
            "homeport.process": "web",
            "homeport.index": "0",
            "homeport.restarts": "0",
            "homeport.image": "hp-shop:1",
            "homeport.port": "8080",
            "homeport.stop-timeout": "12.5",
        },
        "StopTimeout": 12,
        "HostConfig": {
            "NetworkMode": "hp-0badcafe-shop-production",
            "Memory": 64 << 20,
            "MemorySwap": 64 << 20,
            "NanoCpus": 500_000_000,
            "PidsLimit": 512,
            "Init": True,
            "SecurityOpt": ["no-new-privileges"],
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "local", "Config": {"max-size": "10m", "max-file": "3"}},
        },
        "NetworkingConfig": {"EndpointsConfig": {"hp-0badcafe-shop-production": {}}},
    }


def test_nothing_is_published_and_no_secret_is_in_labels_or_argv() -> None:
    body = containers.body(desired(), slot_of(command="run"), {"TOKEN": "s3cret"}, RULES)
    assert "PortBindings" not in body["HostConfig"]
    assert "s3cret" not in str({key: value for key, value in body.items() if key != "Env"})


def test_a_command_goes_through_the_shell_and_none_leaves_the_images_own() -> None:
    assert containers.body(desired(), slot_of(command="a && b"), {}, RULES)["Entrypoint"] == ["/bin/sh", "-c", "a && b"]
    assert not {"Entrypoint", "Cmd"} & set(containers.body(desired(), slot_of(), {}, RULES))


def test_limits_that_nobody_set_are_the_boxs() -> None:
    host = containers.host_config(desired(), RULES)
    assert (host["Memory"], host["MemorySwap"], "NanoCpus" in host) == (512 << 20, 512 << 20, False)


def test_port_cannot_be_taken_over_by_a_variable_and_workers_have_none() -> None:
    assert containers.environment_of(desired(), slot_of(), {"PORT": "1"})["PORT"] == "8080"
    assert "PORT" not in containers.environment_of(desired(), slot_of(process="worker", port=None), {})


def test_a_one_off_is_the_same_body_with_another_command_and_a_mark() -> None:
    body = containers.body(desired(), slot_of(), {}, RULES)
    once = containers.one_off(body, ["sh", "-c", "x"])
    assert (once["Entrypoint"], once["Labels"]["homeport.one-off"]) == (["sh", "-c", "x"], "1")
    assert "homeport.one-off" not in body["Labels"]


def test_subnets_are_the_first_that_are_free() -> None:
    networks: list[dict[str, Any]] = [
        {"IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}},
        {"IPAM": {"Config": [{"Subnet": "10.83.0.0/26"}, {"Subnet": "fd00::/64"}]}},
        {"IPAM": {"Config": None}},
        {"IPAM": {"Config": [{"Subnet": "10.83.0.128/25"}]}},
    ]
    free = containers.free_subnets("10.83.0.0/16", containers.subnets_of(networks))
    assert list(islice(free, 3)) == ["10.83.0.64/26", "10.83.1.0/26", "10.83.1.64/26"]


def test_a_full_pool_has_none() -> None:
    assert list(containers.free_subnets("10.83.0.0/25", ["10.83.0.0/24"])) == []


def test_routes_into_the_pool_are_taken_and_wider_ones_do_no_harm() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "tun0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n"
        "tun1\t0000530A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert list(containers.routed_subnets(table, "10.83.0.0/16")) == ["10.83.0.0/24"]


def inspected(status: str, **state: Any) -> dict[str, Any]:
    labels = containers.labels(desired(), slot_of(), "x")
    networks = {"net": {"IPAddress": "10.83.0.2" if status == "running" else ""}}
    return {
        "Id": "abc",
        "State": {"Status": status, **state},
        "RestartCount": 3,
        "Config": {"Labels": labels},
        "NetworkSettings": {"Networks": networks},
    }


def test_replicas_as_the_engine_tells_them() -> None:
    running = containers.replica(inspected("running", ExitCode=0), memory=5)
    assert running == Replica(
        process="web", index=0, id="abc", address="10.83.0.2:8080", state="running", number=7, restarts=3, memory=5
    )
    ended = containers.replica(inspected("exited", ExitCode=137))
    assert (ended.state, ended.exit_code, ended.address) == ("exited", 137, None)
    assert containers.replica(inspected("restarting", ExitCode=1)).state == "restarting"
    assert containers.replica(inspected("created", ExitCode=0)).state == "exited"


def test_two_boxes_have_two_ids(tmp_path: Path) -> None:
    ids = {containers.data_id(Settings(data=str(tmp_path / name))) for name in ("a", "b", "./a")}
    assert len(ids) == 2
    assert all(len(found) == 8 for found in ids)
