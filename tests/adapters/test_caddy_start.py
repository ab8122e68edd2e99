from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters import caddy_start
from app.errors import Unavailable
from app.settings import Settings


def program(folder: Path, text: str) -> str:
    """A stand-in for a Caddy that says it has this version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "caddy"
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No Caddy on PATH and none beside the interpreter."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    return tmp_path


def test_only_the_one_that_the_settings_name(alone: Path) -> None:
    program(alone / "bin", "v2.11.7 h1:x")
    named = program(alone / "own", "v2.12.0")
    assert caddy_start.find(Settings(data="/d", caddy=named)) == named
    old = program(alone / "old", "v2.10.9")
    with pytest.raises(Unavailable, match=r"2\.11 or newer: .*old/caddy is 2\.10\.9$"):
        caddy_start.find(Settings(data="/d", caddy=old))


def test_the_one_on_path_then_the_one_beside_the_interpreter(alone: Path) -> None:
    beside = program(alone / "venv", "v2.11.7 h1:x")
    assert caddy_start.find(Settings(data="/d")) == beside
    on_path = program(alone / "bin", "2.11.0")
    assert caddy_start.find(Settings(data="/d")) == on_path
    program(alone / "bin", "2.6.2")
    assert caddy_start.find(Settings(data="/d")) == beside


def test_every_version_that_was_found_is_said(alone: Path) -> None:
    with pytest.raises(Unavailable, match="none was found"):
        caddy_start.find(Settings(data="/d"))
    program(alone / "bin", "2.6.2")
    program(alone / "venv", "nonsense")
    with pytest.raises(Unavailable, match=r"bin/caddy is 2\.6\.2; .*venv/caddy is no Caddy that runs"):
        caddy_start.find(Settings(data="/d"))


@pytest.mark.parametrize(
    ("text", "version"),
    [("v2.11.7 h1:yj0Y=\n", (2, 11, 7)), ("2.6.2", (2, 6, 2)), ("(devel)", None), ("", None)],
)
def test_parse_version(text: str, version: tuple[int, ...] | None) -> None:
    assert caddy_start.parse_version(text) == version


def test_caddy_gets_no_proxy_and_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    monkeypatch.setenv("HOMEPORT_SECRET", "s")
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    found = caddy_start.environment(tmp_path)
    assert set(found) <= {"PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"}
    assert found["SSL_CERT_FILE"] == "/ca.pem"
    assert found["HOME"] == found["XDG_DATA_HOME"] == found["XDG_CONFIG_HOME"] == str(tmp_path)


@pytest.mark.parametrize("which", [0, 1])
def test_a_port_in_use_is_named_with_who_has_it(free_ports: Callable[[int], list[int]], which: int) -> None:
    ports = free_ports(2)
    with socket.create_server(("127.0.0.1", ports[which]), reuse_port=True):
        for bind in ("127.0.0.1", ""):
            settings = Settings(data="/d", http_port=ports[0], https_port=ports[1], bind=bind)
            with pytest.raises(Unavailable, match=rf"port {ports[which]} is in use by .*\(pid {os.getpid()}\)"):
                caddy_start.check_ports(settings)
    caddy_start.check_ports(settings)


def test_a_port_that_needs_more_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(Unavailable, match="port 80 needs more rights") as caught:
        caddy_start.check_ports(Settings(data="/d"))
    assert "ip_unprivileged_port_start" in caught.value.hint


def test_what_caddy_said_in_words(tmp_path: Path) -> None:
    start, log = tmp_path / "start.log", tmp_path / "caddy.log"
    assert caddy_start.said(log, start) == "it said nothing"
    log.write_text('{"level":"info","ts":1,"msg":"using config"}\n')
    assert caddy_start.said(log, start) == "using config"
    log.write_text('{"level":"error","msg":"loading","error":"bind: in use"}\n{"level":"info","ts":1,"msg":"bye"}\n')
    assert caddy_start.said(log, start) == "loading bind: in use"
    start.write_text("panic: out of memory\n")
    assert caddy_start.said(log, start) == "panic: out of memory"
