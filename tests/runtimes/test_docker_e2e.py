"""The Docker runtime on a real engine: candidates that come up, and candidates broken in every way we know."""

from __future__ import annotations

import threading
import time

import pytest

from app.adapters.buildkit import Build
from app.adapters.process import Cancel
from app.errors import BadInput, Canceled, StageFailed
from app.model import HealthCheck
from app.runtimes import containers
from tests.leftovers import data_label
from tests.runtimes.conftest import APP, QUICK, World, get
from tests.wanted import desired, plan, web, worker

pytestmark = pytest.mark.e2e


# candidates that come up


def test_a_candidate_answers_at_its_own_address_and_nothing_is_published(world: World) -> None:
    running = world.start(world.desired(), {"NAME": "ada"})
    assert get(running.addresses[0])[1].startswith("ada at")
    found = world.inspect(world.runtime.names(world.desired())[0])
    assert found["NetworkSettings"]["Ports"] in ({}, None)
    assert list(found["NetworkSettings"]["Networks"]) == [containers.network_name(world.desired(), data_label(world.data))]


def test_limits_logs_and_restart_policy_are_what_the_engine_has(world: World) -> None:
    wanted = world.desired(plan=plan(memory=96 << 20, cpu=0.5))
    world.start(wanted)
    name = world.runtime.names(wanted)[0]
    host = world.inspect(name)["HostConfig"]
    assert host["LogConfig"] == {"Type": "local", "Config": {"max-size": "10m", "max-file": "3"}}
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (96 << 20, 96 << 20, 500_000_000)
    assert (host["PidsLimit"], host["Init"], host["SecurityOpt"]) == (512, True, ["no-new-privileges"])
    assert host["RestartPolicy"]["Name"] == "no"
    world.runtime.settle(wanted)
    assert world.inspect(name)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_replicas_and_workers_start_side_by_side(world: World) -> None:
    wanted = world.desired(web(replicas=2), worker(f"{APP} idle"))
    running = world.start(wanted)
    assert len(set(running.addresses)) == 2
    assert sorted((r.process, r.index, r.state) for r in world.runtime.observe("env1")) == [
        *(("web", 0, "running"), ("web", 1, "running"), ("worker", 0, "running")),
    ]


def test_starting_again_keeps_what_is_right_and_replaces_what_is_dead(world: World) -> None:
    wanted = world.desired(web(replicas=2))
    world.start(wanted)
    before = {replica.index: replica.id for replica in world.runtime.observe("env1")}
    world.docker.kill(before[1])
    running = world.start(wanted)
    after = {replica.index: replica.id for replica in world.runtime.observe("env1")}
    assert (after[0], after[1] != before[1], len(running.addresses)) == (before[0], True, 2)


def test_a_container_of_the_name_with_another_image_is_replaced(world: World) -> None:
    wanted = world.desired()
    name = world.runtime.names(wanted)[0]
    world.docker.create(
        name, {"Image": "python:3.11-slim", "Cmd": ["sleep", "1000"], "Labels": containers.ours(data_label(world.data))}
    )
    world.start(wanted)
    assert world.inspect(name)["Config"]["Image"] == world.image


def test_halted_replicas_are_brought_back_as_they_were(world: World) -> None:
    wanted = world.desired()
    world.start(wanted)
    world.runtime.settle(wanted)
    before = world.runtime.observe("env1")[0].id
    assert world.runtime.halt() == 1
    assert world.runtime.observe("env1")[0].state == "exited"
    running = world.start(wanted)
    assert world.runtime.observe("env1")[0].id == before
    assert get(running.addresses[0])[0] == 200


def test_a_port_that_only_the_image_names_is_taken(world: World) -> None:
    folder = world.data / "exposed"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(f"FROM {world.image}\nEXPOSE 4567\n")
    tag = f"{world.image}-exposed"
    assert world.docker.build(Build(context=folder, dockerfile=folder / "Dockerfile", tag=tag), print, Cancel()).exit_code == 0
    wanted = desired(tag, plan=plan(port=None, health=QUICK))
    assert world.start(wanted).addresses[0].endswith(":4567")


def test_no_more_webs_than_a_route_has_room_for(world: World) -> None:
    with pytest.raises(BadInput) as caught:
        world.start(world.desired(web(replicas=13)))
    assert caught.value.cause == "web can run at most 12 copies on one machine."


# candidates that are broken


def test_wrong_port(world: World) -> None:
    failed = world.fail(world.desired(web(f"{APP} serve 0.0.0.0 3000")))
    assert (failed.failure_code, "listens on port 3000, and 8080 was expected" in failed.cause) == ("wrong-port", True)
    assert failed.log_tail == ("listening on 0.0.0.0:3000",)


def test_bound_to_localhost(world: World) -> None:
    failed = world.fail(world.desired(web(f"{APP} serve 127.0.0.1")))
    assert (failed.failure_code, "127.0.0.1:8080" in failed.cause) == ("bound-to-localhost", True)


def test_crash_at_start_is_said_at_once(world: World) -> None:
    started = time.monotonic()
    failed = world.fail(world.desired(web(f"{APP} crash 3"), plan=plan(health=HealthCheck(timeout=60))))
    assert time.monotonic() - started < 50
    assert (failed.failure_code, failed.exit_code) == ("crash-at-start", 3)
    assert sorted(failed.log_tail) == ["about to fail", "the reason is in this line"]


def test_out_of_memory(world: World) -> None:
    failed = world.fail(world.desired(web(f"{APP} hog"), plan=plan(memory=32 << 20, health=HealthCheck(timeout=30))))
    assert (failed.failure_code, failed.cause) == ("out-of-memory", "web ran out of memory (limit 32 MiB) and was killed.")


def test_missing_env(world: World) -> None:
    failed = world.fail(world.desired(web(f"{APP} need DATABASE_URL")))
    assert (failed.failure_code, failed.hint) == ("missing-env", "Set it with `homeport env set shop DATABASE_URL=…`.")


def test_health_path_404(world: World) -> None:
    failed = world.fail(world.desired(plan=plan(health=HealthCheck(path="/missing", timeout=2))))
    assert (failed.failure_code, "/missing answers 404" in failed.cause) == ("health-path-404", True)


def test_a_redirect_is_well_on_a_health_path(world: World) -> None:
    assert world.start(world.desired(plan=plan(health=HealthCheck(path="/moved", timeout=5)))).addresses


def test_a_404_is_well_where_no_path_was_chosen_and_a_500_is_not(world: World) -> None:
    assert world.start(world.desired(), {"STATUS": "404"}).addresses
    world.empty()
    failed = world.fail(world.desired(), {"STATUS": "500"})
    assert (failed.failure_code, failed.cause) == ("health-path-status", "GET / answers 500, and below 500 is needed.")


def test_one_good_answer_is_not_enough(world: World) -> None:
    assert world.fail(world.desired(web(f"{APP} flicker"))).failure_code == "health-path-status"


def test_image_not_found(world: World) -> None:
    failed = world.fail(desired("hp-behaviours:gone", plan=plan(health=QUICK)))
    assert failed.failure_code == "image-not-found"


def test_disk_full(world: World) -> None:
    assert world.fail(world.desired(web(f"{APP} full"))).failure_code == "disk-full"


def test_no_start_command(world: World) -> None:
    failed = world.fail(world.desired(web("gunicorn app:app")))
    assert (failed.failure_code, "not in the image: gunicorn" in failed.cause) == ("no-start-command", True)


def test_no_start_command_at_all(world: World) -> None:
    folder = world.data / "bare"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("x")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    tag = f"{world.image}-bare"
    labels = containers.ours(data_label(world.data))
    assert (
        world.docker.build(
            Build(context=folder, dockerfile=folder / "Dockerfile", tag=tag, labels=labels), print, Cancel()
        ).exit_code
        == 0
    )
    assert world.fail(desired(tag, plan=plan(health=QUICK))).failure_code == "no-start-command"


def test_never_listened_and_no_answer(world: World) -> None:
    assert world.fail(world.desired(web(f"{APP} idle"))).failure_code == "never-listened"
    assert world.fail(world.desired(web(f"{APP} mute"))).failure_code == "no-answer"


def test_a_worker_that_ends_is_a_crash_and_takes_the_others_down(world: World) -> None:
    failed = world.fail(world.desired(web(), worker(f"{APP} crash 4")))
    assert (failed.failure_code, failed.exit_code, "worker" in failed.cause) == ("crash-at-start", 4, True)


def test_a_broken_candidate_leaves_the_settled_one_alone(world: World) -> None:
    live = world.desired(number=6, deployment_id="dep6")
    running = world.start(live)
    world.runtime.settle(live)
    with pytest.raises(StageFailed):
        world.start(world.desired(web(f"{APP} crash")))
    assert [replica.number for replica in world.runtime.observe("env1")] == [6]
    assert get(running.addresses[0])[0] == 200


def test_a_broken_addition_leaves_the_settled_replicas_of_the_same_deployment_alone(world: World) -> None:
    world.start(world.desired())
    world.runtime.settle(world.desired())
    with pytest.raises(StageFailed):
        world.start(world.desired(web(replicas=2), worker(f"{APP} crash")))
    assert [(replica.process, replica.index) for replica in world.runtime.observe("env1")] == [("web", 0)]


def test_a_canceled_start_leaves_nothing(world: World) -> None:
    cancel = Cancel()
    threading.Timer(1.0, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(Canceled):
        world.runtime.start(world.desired(web(f"{APP} idle"), plan=plan(health=HealthCheck(timeout=60))), {}, print, cancel)
    assert time.monotonic() - started < 50
    assert world.runtime.observe() == ()
