"""`homeportd`: the server's own command. People use `homeport`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from typing import Any

from app import main as server
from app.errors import HomeportError, TimedOut, Unavailable
from app.settings import Settings, load
from app.text import clean_line

DOWN_WAIT = 60.0
"""Seconds that `down` gives a server to end: requests, builds, Caddy, applications."""


def main() -> None:
    """Entry point. Exit codes: 0 well, 1 an error or a check that failed, 2 usage, 5 a server runs already."""
    arguments = parser().parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        sys.exit(arguments.verb(arguments, load(settings_of(arguments), os.environ)))
    except HomeportError as error:
        print(f"homeportd: {clean_line(error.cause)}\n  {clean_line(error.hint)}", file=sys.stderr)
        sys.exit(5 if error.status == 409 else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def parser() -> argparse.ArgumentParser:
    """The grammar of `homeportd`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", metavar="DIR", help="the data folder (default: /var/lib/homeport for root)")
    root = argparse.ArgumentParser(prog="homeportd", description="The Homeport server. People use `homeport`.")
    verbs = root.add_subparsers(required=True, metavar="COMMAND")
    up = verbs.add_parser("up", parents=[common], help="serve in the foreground: API, scheduler and Caddy")
    up.add_argument("--http-port", type=int, metavar="N", help="port for HTTP (default 80)")
    up.add_argument("--https-port", type=int, metavar="N", help="port for HTTPS (default 443)")
    up.add_argument("--bind", metavar="ADDRESS", help="address that Caddy listens on (default: every one)")
    up.add_argument("--base-domain", metavar="NAME", help="projects answer at <project>.NAME too")
    up.add_argument("--acme-email", metavar="ADDRESS", help="contact for certificates")
    up.add_argument("--acme-ca", metavar="URL", help="another ACME directory")
    up.add_argument("--local-repository", metavar="DIR", action="append", help="allow git repositories below DIR (repeatable)")
    up.add_argument("--keep-running", action="store_true", help="leave Caddy and the applications running at the end")
    up.set_defaults(verb=up_)
    down = verbs.add_parser("down", parents=[common], help="end the server, Caddy and the applications of a data folder")
    down.set_defaults(verb=down_)
    doctor = verbs.add_parser("doctor", parents=[common], help="check this box and the invariants of its data folder")
    doctor.add_argument("--json", action="store_true", help="one object per check")
    doctor.add_argument("--invariants", action="store_true", help="only the invariants")
    doctor.set_defaults(verb=doctor_)
    images = verbs.add_parser("images", help="base images for machines that reach no registry")
    build = images.add_subparsers(required=True, metavar="VERB").add_parser(
        "build", parents=[common], help="build stand-ins from Debian's packages"
    )
    build.add_argument("name", nargs="*", help="image references (default: every recipe that this machine can build)")
    build.set_defaults(verb=images_)
    return root


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that flags name; None where a flag was not given."""
    flags = {name: getattr(arguments, name, None) for name in Settings.__struct_fields__}
    local = getattr(arguments, "local_repository", None)
    return {**flags, "local_repositories": tuple(local) if local else None}


def up_(arguments: argparse.Namespace, settings: Settings) -> int:
    """`homeportd up`."""
    server.up(settings, keep_running=arguments.keep_running)
    return 0


def down_(arguments: argparse.Namespace, settings: Settings) -> int:
    """`homeportd down`: end the server if one runs, then whatever is left of Caddy and the applications."""
    pid = server_pid(settings)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + DOWN_WAIT
        while server_pid(settings) is not None:
            if time.monotonic() > deadline:
                raise TimedOut(f"the server (pid {pid}) does not end", hint=f"kill -9 {pid}, then `homeportd down` again.")
            time.sleep(0.1)
    if not settings.database.exists():
        raise Unavailable(f"{settings.data} is no data folder of Homeport", hint="Name it with --data.")
    with server.only_one(settings):
        box = server.build(settings)
        server.halt(box)
        box.store.close()
    print(f"Homeport on {settings.data} is down.", file=sys.stderr)
    return 0


def server_pid(settings: Settings) -> int | None:
    """The pid of the server that holds the data folder; None when nobody does."""
    path = settings.root / "lock"
    if not path.exists():
        return None
    try:
        with server.only_one(settings):
            return None
    except HomeportError:
        text = path.read_text().strip()
        return int(text) if text.isdigit() else None


def doctor_(arguments: argparse.Namespace, settings: Settings) -> int:
    """`homeportd doctor`: asks the running server, or looks itself when none runs."""
    from app import doctor

    if server_pid(settings) is not None:
        from app.sdk import Client

        checks = Client(str(settings.api_socket)).system.doctor(arguments.invariants)
    else:
        with server.only_one(settings):
            box = server.build(settings)
            checks = doctor.check(box, serving=False, only_invariants=arguments.invariants)
            box.store.close()
    for check in checks:
        print(doctor.as_json(check) if arguments.json else doctor.as_text(check))
    return 0 if all(check.ok or check.level != "error" for check in checks) else 1


def images_(arguments: argparse.Namespace, settings: Settings) -> int:
    """`homeportd images build`: have each base image: here, pulled or made. Exit code 1 when one cannot be had."""
    from app.adapters.bases import Bases, fits, recipes
    from app.adapters.docker import Docker
    from app.adapters.process import Cancel

    server.prepare(settings)
    bases = Bases(Docker(settings), settings)
    failed = 0
    for name in arguments.name or [recipe.image for recipe in recipes() if fits(recipe)]:
        began, lines = time.monotonic(), list[str]()
        try:
            bases.ensure(name, lines.append, Cancel())
            print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
        except HomeportError as error:
            said = [clean_line(line) for line in (*lines[-20:], f"homeportd: {name}: {error.cause}", f"  {error.hint}")]
            print("\n".join(said), file=sys.stderr)
            failed = 1
    return failed
