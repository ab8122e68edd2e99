"""What reaches a real terminal: never a byte that foreign text brought along. And how the CLI looks on poor terminals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.appliance import Appliance
from app.errors import StageFailed
from tests.nouns import COMMIT
from tests.serving import Script, Talking, working
from tests.tui.conftest import ENTRY, ROOT, Ran, Terminal
from tui.output import cells

PAYLOADS = [
    "\x1b]52;c;aGVsbG8=\x1b\\",
    "\x1b]52;c;aGVsbG8=\x07",
    "\x1b]0;title\x1b\\",
    "\x1b[31;2J",
    "\x9b2J",
    "\x1b]8;;http://evil.example\x1b\\text",
    '\x1bP$q"p\x1b\\',
    "\rOVER",
    "\b\bX\u202e",
    "\x1b]52;c;AAAA",
]
OURS = re.compile(rb"\x1b\[(?:\d+m|\d+A|J)")
"""The sequences that the CLI itself draws with: a style, up, erase below."""

Cli = Callable[..., Ran]
Start = Callable[..., Terminal]


def foreign(got: bytes) -> list[bytes]:
    """Control and bidi characters in what a terminal got, besides our own drawing."""
    text = OURS.sub(b"", got).replace(b"\r\n", b"\n").replace(b"\r", b"", got.count(b"A\r"))
    return re.findall(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]", text)


def live(cli: Cli, box: Appliance) -> None:
    """The project of the folder, deployed."""
    with working(box, Script()):
        assert cli("deploy", "--quiet").code == 0


def test_the_oracle_sees_every_payload() -> None:
    for payload in PAYLOADS:
        assert foreign(payload.encode()) != [], payload


def test_a_deploy_that_is_full_of_them(terminal: Start, box: Appliance, folder: Path) -> None:
    everything = "".join(PAYLOADS)
    failure = StageFailed(everything, failure_code="x", hint=everything, log_tail=tuple(PAYLOADS))
    with working(box, Script(lines={"image": [f"shown {one}" for one in PAYLOADS]}, fails={"image": failure})):
        command = terminal("deploy", "-m", everything)
        code = command.finish()

    assert code == 7
    assert b" at image: " in command.got
    assert foreign(command.got) == []


def test_the_other_views_of_it(cli: Cli, terminal: Start, box: Appliance) -> None:
    everything = "".join(PAYLOADS)
    live(cli, box)
    environment = box.store.environments.of(box.store.projects.named("shop"))
    box.store.deployments.create(environment, "upload", everything, commit=COMMIT, message=everything, ref=everything)
    talking = box.runtimes["docker"]
    assert isinstance(talking, Talking)
    talking.lines = [f"shown {one}" for one in PAYLOADS]

    views = (
        ("deployments", "list", "shop"),
        ("deployments", "show", "shop", "2"),
        ("deployments", "show", "shop", "2", "--json"),
        ("status", "shop"),
        ("logs", "shop"),
        ("logs", "shop", "--json"),
        ("events", "-p", "shop"),
        ("status", everything),
        (everything,),
    )
    for argv in views:
        command = terminal(*argv)
        command.finish()
        assert foreign(command.got) == [], argv
        assert len(command.got) > 10, argv


def test_the_whole_json_is_ascii(cli: Cli, box: Appliance) -> None:
    cli("projects", "create", "shop")
    box.store.deployments.create(
        box.store.environments.of(box.store.projects.named("shop")), "upload", "ada", commit=COMMIT, message="".join(PAYLOADS)
    )
    shown = cli("deployments", "list", "shop", "--json").out

    assert shown.isascii()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", shown.replace("\n", ""))
    assert json.loads(shown)["message"] == "".join(PAYLOADS)


def test_the_track_is_drawn_and_goes(terminal: Start, box: Appliance) -> None:
    with working(box, Script(lines={"image": ["compiling the thing"]})):
        command = terminal("deploy")
        assert command.finish() == 0
    text = command.got.decode()

    assert "\x1b[32m✓\x1b[0m image   \x1b[2mok " in text
    assert text.endswith("\r\n\x1b[32m● live\x1b[0m http://shop.localhost:8080 (#1)\r\n") or text.endswith(
        "\x1b[J\x1b[32m● live\x1b[0m http://shop.localhost:8080 (#1)\r\n"
    )
    assert "│" not in text.split("\x1b[J")[-1]


@pytest.mark.parametrize(
    ("env", "colour", "glyph"),
    [
        ({"NO_COLOR": "1"}, False, "✓"),
        ({"LC_ALL": "C"}, True, "+"),
        ({"LC_ALL": "POSIX", "NO_COLOR": "1"}, False, "+"),
    ],
)
def test_without_colour_and_without_unicode(
    terminal: Start, box: Appliance, env: dict[str, str], colour: bool, glyph: str
) -> None:
    with working(box, Script()):
        command = terminal("deploy", env=env)
        command.finish()
    text = command.got.decode()

    assert (re.search(r"\x1b\[\d+m", text) is not None) is colour
    assert f"{glyph}\x1b[0m image" in text if colour else f"{glyph} image" in text
    assert text.isascii() is (glyph == "+")


def test_a_dumb_terminal_gets_plain_lines(terminal: Start, box: Appliance) -> None:
    with working(box, Script()):
        command = terminal("deploy", env={"TERM": "dumb"})
        command.finish()

    assert b"\x1b" not in command.got
    assert re.search(rb"image ok \d+\.\d s\r\n", command.got)


def test_nothing_wraps_on_a_narrow_terminal(terminal: Start, box: Appliance) -> None:
    held = threading.Event()
    with working(box, Script(lines={"image": ["漢字" * 40, "x" * 300]}, hold={"image": held})):
        command = terminal("deploy", columns=40)
        command.wait_for("│ xxx")
        held.set()
        command.finish()
    drawn = [line for line in OURS.sub(b"", command.got).decode().split("\r\n") if "│" in line]

    assert max(cells(line) for line in drawn) == 39


def test_who_has_read_enough_is_no_error(environ: dict[str, str], cli: Cli, box: Appliance, folder: Path) -> None:
    live(cli, box)
    talking = box.runtimes["docker"]
    assert isinstance(talking, Talking)
    talking.lines = ["x" * 100] * 10_000
    argv = [sys.executable, "-c", ENTRY, "logs", "shop", "-n", "10000"]
    told = {**environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=told, cwd=folder) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        assert reader.stdout.readline() == b"x" * 100 + b"\n"
        reader.stdout.close()
        said = reader.stderr.read()
        code = reader.wait(20)

    assert (code, said) == (141, b"")


def test_listing_projects_imports_nothing_heavy(environ: dict[str, str], folder: Path) -> None:
    code = "import sys; from tui.cli import run; c = run(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(c)"
    told = {**environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    argv = [sys.executable, "-c", code, "projects", "list", "--quiet"]
    ran = subprocess.run(argv, capture_output=True, text=True, env=told, cwd=folder, timeout=60, check=True)
    imported = set(ran.stderr.split())
    heavy = {"asyncio", "httpx", "rich", "litestar", "sqlite3", "docker", "anyio", "subprocess", "uvicorn", "cryptography"}

    assert "app.sdk" in imported
    assert imported & heavy == set()
    assert {name for name in imported if name.startswith("tui.commands.")} == {"tui.commands.projects"}
