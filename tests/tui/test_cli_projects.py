"""The commands about projects, domains, env and what runs, word for word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app import doctor
from app.appliance import Appliance
from app.inputs import Check
from tests.serving import Script, Talking, working
from tests.tui.conftest import Ran, Terminal
from tui.commands.env import compared, repr_value
from tui.commands.running import counts
from tui.session import slug_of

Cli = Callable[..., Ran]


@pytest.fixture
def shop(cli: Cli, box: Appliance) -> str:
    """A project that is live, and that the folder is linked to."""
    with working(box, Script()):
        assert cli("deploy", "--quiet").code == 0
    return "shop"


def test_nothing_at_all_shows_the_way(cli: Cli, shop: str) -> None:
    assert cli() == Ran(
        0,
        "PROJECT  STATE   LIVE  URL\nshop     ● live  #1    http://shop.localhost:8080\n",
        "next: `homeport deploy` in a project's folder takes a change live.\n"
        "`homeport --help` lists the commands, `homeport COMMAND --help` explains one.\n",
    )


def test_nothing_at_all_without_a_server(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEPORT_SERVER", "/nowhere")

    assert cli() == Ran(
        0,
        "",
        "No Homeport server answers. Tried /nowhere (HOMEPORT_SERVER: no such socket).\n"
        "next: Start one with `homeportd up`, or name it with --server or HOMEPORT_SERVER.\n"
        "`homeport --help` lists the commands, `homeport COMMAND --help` explains one.\n",
    )


def test_no_projects_yet(cli: Cli) -> None:
    assert cli("projects", "list") == Ran(
        0, "", "No projects yet: `homeport deploy` in the folder of an application makes one.\n"
    )
    assert cli("projects", "list", "--json") == Ran(
        0, "", "No projects yet: `homeport deploy` in the folder of an application makes one.\n"
    )


def test_a_project_is_made_changed_and_shown(cli: Cli) -> None:
    made = cli("projects", "create", "blog", "--git", "https://git.example/blog.git", "--ref", "main")
    changed = cli("projects", "set", "blog", "--ref", "next")
    shown = cli("--json", "projects", "show", "blog")

    url = "  git url        https://git.example/blog.git\n"
    assert made == Ran(0, f"made project blog\n{url}  git ref        main\n", "")
    assert changed.out == f"changed project blog\n{url}  git ref        next\n"
    assert json.loads(shown.out)["git_ref"] == "next"
    assert cli("projects", "set", "blog") == Ran(2, "", "homeport: Nothing to change\n  next: Give --git, --ref or --key-file.\n")


def test_a_deploy_key_prints_its_public_half(cli: Cli) -> None:
    cli("projects", "create", "blog")
    ran = cli("projects", "deploy-key", "blog")

    assert (ran.code, ran.err) == (0, "Add it to the repository as a deploy key that may read.\n")
    assert ran.out.startswith("ssh-ed25519 ")


def test_status_of_this_folder_and_of_folders_below(
    cli: Cli, shop: str, folder: Path, monkeypatch: pytest.MonkeyPatch, box: Appliance
) -> None:
    commit = box.store.deployments.everything()[0].commit
    assert commit is not None
    (folder / "deep").mkdir()
    here = cli("status")
    monkeypatch.chdir(folder / "deep")

    assert here == cli("status")
    assert here.out.split("\n")[1].strip().startswith(f"live     #1 {commit[:10]}")
    assert json.loads(cli("status", "--json").out)["project"]["slug"] == "shop"


def test_a_wrong_name_gets_the_right_one(cli: Cli, shop: str) -> None:
    ran = cli("status", "shpo")

    assert ran.code == 3
    assert ran.err.split("\n")[0].endswith("; did you mean 'shop'?")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["depoly"], "there is no command 'depoly'; did you mean 'deploy'?"),
        (["env", "lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["qqqq"], "there is no command 'qqqq'"),
        (["deploy", "--detsch"], "unrecognized arguments: --detsch"),
        (["deploy", "--det"], "unrecognized arguments: --det"),
        (["logs", "-n", "many"], "argument -n/--lines: invalid int value: 'many'"),
        (["domains", "add"], "the following arguments are required: NAME"),
        (["completions", "tcsh"], "there is no SHELL 'tcsh'"),
    ],
)
def test_wrong_usage_is_2(cli: Cli, argv: list[str], said: str) -> None:
    ran = cli(*argv)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.split("\n")[0] == f"homeport: {said}"


def test_errors_are_objects_too_with_json(cli: Cli) -> None:
    ran = cli("status", "nope", "--json")

    assert ran.code == 3
    assert json.loads(ran.out)["exit_code"] == 3
    assert json.loads(ran.out)["error"]["code"] == "not-found"


def test_a_folder_without_a_project_asks_for_one(cli: Cli) -> None:
    assert cli("status") == Ran(
        2,
        "",
        "homeport: Which project? This folder has not been deployed\n"
        "  next: Name it: `homeport projects list` shows them, --project P (-p) chooses one.\n",
    )


def test_deleting_needs_a_yes(cli: Cli, shop: str, terminal: Callable[..., Terminal]) -> None:
    assert cli("delete") == Ran(2, "", "homeport: deleting shop needs a yes\n  next: Add --yes.\n")
    wrong = terminal("delete")
    wrong.wait_for("Type its name: ")
    wrong.type("shoo\n")
    assert wrong.finish() == 5
    assert cli("delete", "--yes") == Ran(0, "deleted shop\n", "")
    assert cli("status").code == 2


def test_open_prints_the_url(cli: Cli, shop: str) -> None:
    assert cli("open") == Ran(0, "http://shop.localhost:8080\n", "")


def test_deployments_are_listed_and_shown(cli: Cli, shop: str, box: Appliance) -> None:
    one = box.store.deployments.everything()[0]
    assert one.commit is not None
    listed = cli("deployments", "list").out.split("\n")
    shown = cli("deployments", "show", "1")

    assert listed[0].split() == ["N", "STATUS", "BY", "COMMIT", "AT", "MESSAGE"]
    assert listed[1].split()[:5] == ["#1", "●", "live", "upload", one.commit[:10]]
    assert shown.out.startswith(f"shop #1  ● live\n  commit   {one.commit[:10]}\n")
    assert cli("deployments", "show", "shop", "one").code == 2
    assert cli("deployments", "show", "9").code == 3


def test_cancel_with_nothing_under_way(cli: Cli, shop: str) -> None:
    ran = cli("cancel")

    assert (ran.code, ran.err.split("\n")[0]) == (5, "homeport: nothing of shop is under way: #1 is live")


def test_logs_of_the_application_and_of_a_build(cli: Cli, shop: str, box: Appliance) -> None:
    talking = box.runtimes["docker"]
    assert isinstance(talking, Talking)
    talking.lines = ["one", "two \x1b]0;title\x07three"]

    assert cli("logs", "-n", "1") == Ran(0, "two three\n", "")
    assert cli("logs", "shop", "--json").out == '{"line":"one"}\n{"line":"two \\u001b]0;title\\u0007three"}\n'
    assert cli("logs", "--build", "1").out.split("\n")[0] == "-----> source"
    assert cli("logs", "--build", "1", "-f").out == cli("logs", "--build", "1").out


def test_env_never_shows_a_value(cli: Cli, folder: Path) -> None:
    cli("projects", "create", "shop")
    (folder / "secret").write_text("from a file")
    shown = [
        cli("env", "set", "shop", "KEY=s3cr3t", "--from-file", f"OTHER={folder}/secret"),
        cli("env", "list", "shop"),
        cli("env", "list", "shop", "--json"),
        cli("env", "set", "-p", "shop", "s3cr3t"),
        cli("env", "set", "-p", "shop", "1=s3cr3t"),
    ]

    assert shown[0] == Ran(0, "env of shop is at version 1\n", "added KEY, OTHER\n")
    assert shown[1] == Ran(0, "KEY=••••••\nOTHER=••••••\n", "version 1, 2 variables\n")
    assert [ran.code for ran in shown[3:]] == [2, 2]
    assert not any("s3cr3t" in ran.out + ran.err or "from a file" in ran.out + ran.err for ran in shown)
    assert cli("env", "list", "shop", "--reveal").out == 'KEY=s3cr3t\nOTHER="from a file"\n'


def test_a_value_comes_from_stdin(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    cli("projects", "create", "shop")
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cr3t\n"))

    assert cli("env", "set", "shop", "KEY=-").code == 0
    assert cli("env", "list", "shop", "--reveal").out == "KEY=s3cr3t\n"


def test_env_unset_knows_the_keys(cli: Cli) -> None:
    cli("projects", "create", "shop")
    cli("env", "set", "shop", "KEY=1", "OTHER=2")

    assert cli("env", "unset", "-p", "shop", "KEYS").err == (
        "homeport: there is no variable 'KEYS'; did you mean 'KEY'?\n  next: `homeport env list` shows the keys.\n"
    )
    assert cli("env", "unset", "-p", "shop", "KEY") == Ran(0, "env of shop is at version 2\n", "removed KEY\n")


def test_env_import_shows_the_keys_and_asks_before_any_goes(cli: Cli, folder: Path, terminal: Callable[..., Terminal]) -> None:
    cli("projects", "create", "shop")
    cli("env", "set", "shop", "KEEP=1", "GONE=2")
    (folder / ".env").write_text("KEEP=3\nexport NEW='x y'\n")
    argv = ("env", "import", "-p", "shop", ".env")

    merged = cli(*argv)
    refused = cli(*argv, "--replace")
    asked = terminal(*argv, "--replace")
    asked.wait_for("GONE would go away. Go on? [y/N] ")
    asked.type("y\n")

    assert merged == Ran(0, "env of shop is at version 2\n", "+ NEW\n~ KEEP\nadded NEW\nchanged KEEP\n")
    assert (refused.code, refused.err.split("\n")[:4]) == (5, ["~ KEEP", "~ NEW", "- GONE", "homeport: GONE would go away"])
    assert asked.finish() == 0
    assert cli("env", "list", "shop", "--reveal").out == 'KEEP=3\nNEW="x y"\n'


def test_env_diff_shows_keys_and_differs_in_its_exit_code(cli: Cli, folder: Path) -> None:
    cli("projects", "create", "shop")
    cli("env", "set", "shop", "SAME=1", "MINE=2", "CHANGED=3")
    (folder / ".env").write_text("SAME=1\nCHANGED=4\nNEW=5\n")

    assert cli("env", "diff", "-p", "shop", ".env") == Ran(1, "+ NEW\n- MINE\n", "")
    assert cli("env", "diff", "-p", "shop", ".env", "--reveal") == Ran(1, "+ NEW\n- MINE\n~ CHANGED\n", "")
    assert cli("env", "diff", "-p", "shop", "--version", "1") == Ran(0, "", "")
    assert cli("env", "diff", "-p", "shop").code == 2


def test_env_of_a_live_project_is_deployed(cli: Cli, shop: str, box: Appliance) -> None:
    with working(box, Script()):
        ran = cli("env", "set", "KEY=1")
    waiting = cli("env", "set", "KEY=2", "--no-deploy")

    assert (ran.code, ran.out) == (0, "live http://shop.localhost:8080 (#2)\n")
    assert waiting == Ran(0, "env of shop is at version 2\n", "changed KEY\n")


def test_domains_come_and_go(cli: Cli) -> None:
    cli("projects", "create", "shop")

    assert cli("domains", "add", "shop", "www.shop.dev").out == "added www.shop.dev (TLS: acme)\n"
    assert cli("domains", "list", "shop").out == (
        "NAME            TLS       FROM\nshop.localhost  internal  homeport\nwww.shop.dev    acme      you\n"
    )
    assert cli("domains", "remove", "shop", "www.shop.dev").out == "removed www.shop.dev\n"
    assert cli("domains", "remove", "shop", "shop.localhost").code == 5


def test_events_are_listed(cli: Cli) -> None:
    cli("projects", "create", "shop")
    lines = cli("events", "-n", "1").out.split("\n")

    assert len(lines) == 2
    assert lines[0].split("  ")[0] == "1"
    assert json.loads(cli("events", "--json", "-n", "1").out)["id"] == 1


def test_doctor_tells_and_fails_for_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    well = Check(name="disk", ok=True, level="ok", finding="12 GiB free")
    old = Check(name="git", ok=False, level="warning", finding="2.30", why="It has a hole.", fix="apt upgrade")
    open_key = Check(name="key", ok=False, level="error", finding="mode 0644", fix="chmod 600 secret.key")
    found = [well, old]
    monkeypatch.setattr(doctor, "check", lambda _, only_invariants=False: found)
    warned = cli("doctor")
    found.append(open_key)

    assert warned == Ran(0, "✓ ok  disk: 12 GiB free\n▲ warning  git: 2.30\n    why: It has a hole.\n    fix: apt upgrade\n", "")
    assert cli("doctor").code == 1


def test_version_with_and_without_a_server(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with_one = cli("version", "--json")
    monkeypatch.setenv("HOMEPORT_SERVER", "/nowhere")
    without = cli("version", "--json")

    assert set(json.loads(with_one.out)) == {"homeport", "server"}
    assert json.loads(with_one.out)["server"] is not None
    assert json.loads(without.out)["server"] is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_the_commands(cli: Cli, shell: str) -> None:
    ran = cli("completions", shell)

    assert ran.code == 0
    assert all(word in ran.out for word in ("rollback", "deployments", "lose-env"))


def test_a_noun_alone_shows_its_verbs(cli: Cli) -> None:
    ran = cli("env")

    assert ran.code == 0
    assert "import" in ran.out


# -- pure


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("shop", "shop"),
        ("My Shop_2", "my-shop-2"),
        ("2048", "app-2048"),
        ("--x--", "x"),
        ("日本", "app"),
        ("", "app"),
        ("a" * 60, "a" * 54),
        ("a" * 53 + "-b", "a" * 53),
    ],
)
def test_a_slug_of_a_folder(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_counts() -> None:
    from app.errors import BadInput

    assert counts(["web=2", "worker=0"]) == {"web": 2, "worker": 0}
    for wrong in (["web"], ["web="], ["=2"], ["web=-1"], ["web=101"], ["web=²"], []):
        with pytest.raises(BadInput):
            counts(wrong)


def test_compared_and_shown() -> None:
    assert compared({"A", "B"}, {"B", "C"}, ["A"]) == [("+", "C"), ("~", "B"), ("-", "A")]
    assert [repr_value(value) for value in ("", "a-b", 'x "y"\n$z\\')] == ['""', "a-b", '"x \\"y\\"\\n\\$z\\\\"']
