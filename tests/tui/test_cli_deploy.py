"""`homeport deploy` and its kin, word for word: what is said, where, and the exit code."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.appliance import Appliance
from app.errors import EnvKeysLost, StageFailed
from app.model import Traffic
from tests.box import wait_until
from tests.serving import Script, working
from tests.tui.conftest import Ran, Terminal, timeless
from tui.commands.deploy import amount

STAGES = "".join(f"  | -----> {name}\n{name} ok T s\n" for name in ("source", "plan", "image", "rollout", "route", "health"))
OOM = StageFailed(
    "it was killed: out of memory", failure_code="oom", hint="Give it more memory.", log_tail=("a", "b"), exit_code=137
)

Cli = Callable[..., Ran]


def ordered(text: str) -> list[str]:
    """Lines whose order among log and stages depends on when the server was asked, sorted."""
    return sorted(timeless(text).split("\n"))


def test_the_first_deploy_makes_the_project_of_the_folder(cli: Cli, box: Appliance) -> None:
    with working(box, Script()):
        ran = cli("deploy")

    assert (ran.code, ran.out) == (0, "live http://shop.localhost:8080 (#1)\n")
    assert ordered(ran.err) == ordered(f"made project shop\nsent 1 files, 6 bytes\n{STAGES}")


def test_a_later_deploy_knows_its_project_and_counts_what_was_dropped(cli: Cli, box: Appliance) -> None:
    with working(box, Script(traffic=Traffic(probes=312, dropped=0, longest_wait_ms=41))):
        cli("deploy", "--quiet")
        ran = cli("deploy", "--quiet")

    assert ran == Ran(0, "live http://shop.localhost:8080 (#2) dropped 0 of 312 requests, longest wait 41 ms\n", "")


def test_json_is_one_object_a_line_and_the_last_is_the_result(cli: Cli, box: Appliance) -> None:
    with working(box, Script(lines={"image": ["caf\u00e9"]}, traffic=Traffic(probes=9, dropped=1, longest_wait_ms=7))):
        cli("deploy", "--quiet")
        ran = cli("deploy", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    result = lines[-1]

    assert ran.out.isascii()
    assert {"kind": "log", "line": "café"} in lines
    assert [line["stage"] for line in lines if line.get("kind") == "stage"] == list(result["seconds"])
    assert list(result) == ["project", "number", "status", "url", "dropped", "longest_wait_ms", "seconds"]
    assert {**result, "seconds": set(result["seconds"])} == {
        "project": "shop",
        "number": 2,
        "status": "live",
        "url": "http://shop.localhost:8080",
        "dropped": 1,
        "longest_wait_ms": 7,
        "seconds": {"source", "plan", "image", "rollout", "route", "health"},
    }


def test_a_failure_says_stage_cause_evidence_and_next_step(cli: Cli, box: Appliance) -> None:
    with working(box, Script()):
        cli("deploy", "--quiet")
    with working(box, Script(fails={"rollout": OOM})):
        ran = cli("deploy", "--quiet")

    assert ran == Ran(
        7,
        "",
        "#2 failed at rollout: it was killed: out of memory\n"
        "  | a\n"
        "  | b\n"
        "  exit code 137\n"
        "  next: Give it more memory.\n"
        "  #1 still serves at http://shop.localhost:8080\n",
    )


def test_a_failure_is_in_the_json_too(cli: Cli, box: Appliance) -> None:
    with working(box, Script(fails={"rollout": OOM})):
        ran = cli("deploy", "--json", "--quiet")
    result = json.loads(ran.out.splitlines()[-1])

    assert (ran.code, result["status"]) == (7, "failed")
    assert result["failure"] == {
        "stage": "rollout",
        "code": "oom",
        "cause": "it was killed: out of memory",
        "hint": "Give it more memory.",
        "log_tail": ["a", "b"],
        "exit_code": 137,
    }


def test_a_project_of_that_name_is_not_taken_by_a_folder_that_never_was_in_it(cli: Cli, box: Appliance, tmp_path: Path) -> None:
    cli("projects", "create", "shop")
    ran = cli("deploy", "--yes")
    named = cli("deploy", "--project", "shop", "--detach", "--quiet")

    assert ran == Ran(
        5,
        "",
        "homeport: there is a project 'shop' already, and this folder was never deployed to it\n"
        "  next: `--project shop` deploys into it, another --project makes a new one.\n",
    )
    assert named == Ran(0, "#1 queued\n", "")
    assert cli("deploy", "--detach", "--quiet") == Ran(0, "#2 queued\n", "")


def test_on_a_terminal_it_is_asked(cli: Cli, terminal: Callable[..., Terminal], box: Appliance) -> None:
    cli("projects", "create", "shop")
    refused = terminal("deploy", "--detach")
    refused.wait_for("Deploy into it? [y/N] ")
    refused.type("\n")
    assert refused.finish() == 5
    agreed = terminal("deploy", "--detach")
    agreed.wait_for("Deploy into it? [y/N] ")
    agreed.type("y\n")
    assert agreed.finish() == 0
    assert b"#1 queued" in agreed.got


def test_detached_it_goes_on(cli: Cli, box: Appliance) -> None:
    ran = cli("deploy", "--detach", "--project", "site")

    assert ran == Ran(
        0,
        "#1 queued\n",
        "made project site\nsent 1 files, 6 bytes\n`homeport logs site --build 1 -f` follows it.\n",
    )


def test_ctrl_c_detaches_after_one_question(cli: Cli, terminal: Callable[..., Terminal], box: Appliance) -> None:
    held = threading.Event()
    with working(box, Script(lines={"image": ["compiling"]}, hold={"image": held})):
        command = terminal("deploy")
        command.wait_for("compiling")
        command.type("\x03")
        command.wait_for("Cancel it instead? [y/N] ")
        command.type("\n")
        code = command.finish()
        held.set()
        project = box.store.projects.named("shop")
        wait_until(lambda: box.store.deployments.numbered(project.id, 1).ended, "the deploy goes on")

    assert code == 130
    assert b"#1 goes on. `homeport logs shop --build 1 -f` follows it, `homeport cancel shop 1` stops it." in command.got
    assert box.store.deployments.numbered(project.id, 1).status == "live"


def test_ctrl_c_and_yes_cancels(terminal: Callable[..., Terminal], box: Appliance) -> None:
    held = threading.Event()
    with working(box, Script(lines={"image": ["compiling"]}, hold={"image": held})):
        command = terminal("deploy")
        command.wait_for("compiling")
        command.type("\x03")
        command.wait_for("[y/N] ")
        command.type("y\n")
        assert command.finish() == 130
        held.set()
        project = box.store.projects.named("shop")
        wait_until(lambda: box.store.deployments.numbered(project.id, 1).ended, "the deploy ends")

    assert box.store.deployments.numbered(project.id, 1).status == "canceled"


def test_a_canceled_deploy_is_no_success(cli: Cli, box: Appliance) -> None:
    held = threading.Event()
    script = Script(hold={"image": held})
    codes: list[Ran] = []
    with working(box, script):
        watcher = threading.Thread(target=lambda: codes.append(cli("deploy", "--quiet")))
        watcher.start()
        wait_until(lambda: box.store.projects.all() and box.store.deployments.active(), "the deploy is under way")
        from app.deployments import cancel

        wait_until(lambda: box.store.deployments.everything()[0].status == "image", "it builds")
        cancel(box, "shop", 1, "ada")
        held.set()
        watcher.join()

    assert codes == [Ran(7, "", "#1 canceled\n")]


LOST = EnvKeysLost("the live deployment has KEY; this one would not", keys=["KEY"])


def test_keys_that_would_go_away_are_asked_about(cli: Cli, terminal: Callable[..., Terminal], box: Appliance) -> None:
    with working(box, Script(fails={"plan": LOST})):
        without = cli("deploy", "--quiet")
        asked = terminal("deploy")
        asked.wait_for("the live deployment has KEY; this one would not. Deploy without them? [y/N] ")
        asked.type("y\n")
        code = asked.finish()
        told = cli("deploy", "--quiet", "--lose-env")

    assert without.code == 5
    assert without.err.startswith("#1 failed at plan: the live deployment has KEY; this one would not\n")
    assert (code, told.code) == (0, 0)
    assert told.out == "live http://shop.localhost:8080 (#4)\n"


def test_rollback_is_followed_like_a_deploy(cli: Cli, box: Appliance) -> None:
    with working(box, Script(traffic=Traffic(probes=5, dropped=0, longest_wait_ms=3))):
        cli("deploy", "--quiet")
        cli("deploy", "--quiet")
        back = cli("rollback", "--quiet")
        named = cli("rollback", "shop", "#2", "--json", "--quiet")
    again = cli("resume")

    assert back.out == "live http://shop.localhost:8080 (#3) dropped 0 of 5 requests, longest wait 3 ms\n"
    assert json.loads(named.out.splitlines()[-1])["number"] == 4
    assert again.out == "automatic deploys of shop go on\n"


def test_a_folder_that_is_not_there_is_not_found(cli: Cli, folder: Path) -> None:
    assert cli("deploy", "nowhere") == Ran(
        3, "", f"homeport: {folder}/nowhere is no folder\n  next: Give the folder of the project.\n"
    )


def test_without_a_server_everything_that_was_tried_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOMEPORT_SERVER", str(tmp_path / "none.sock"))

    assert cli("deploy") == Ran(
        1,
        "",
        f"homeport: No Homeport server answers. Tried {tmp_path}/none.sock (HOMEPORT_SERVER: no such socket)\n"
        "  next: Start one with `homeportd up`, or name it with --server or HOMEPORT_SERVER.\n",
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")],
)
def test_amounts(size: int, expected: str) -> None:
    assert amount(size) == expected
