from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.adapters import caddy as module
from app.adapters import caddy_start
from app.adapters.caddy import Caddy
from app.adapters.edge import EdgeSite, hash_of
from app.adapters.edge_routes import docker_route
from app.errors import Conflict, HomeportError, Unavailable
from tests.box import wait_until
from tests.edge import Edge, upstreams

pytestmark = pytest.mark.e2e


@pytest.fixture
def edge(data_folder: Path, free_ports: Callable[[int], list[int]], caddy_binary: str) -> Iterator[Edge]:
    edge = Edge(data_folder, free_ports(2), caddy_binary)
    yield edge
    edge.close()


def admin(edge: Edge) -> httpx.Client:
    """Somebody else with a connection to the admin socket."""
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(edge.settings.caddy_socket)), base_url="http://caddy")


def foreign_edit(edge: Edge) -> None:
    with admin(edge) as client:
        client.post("/config/apps/http/servers/edge/idle_timeout", json="33s").raise_for_status()


def test_starts_once_with_a_private_socket_and_a_config_file(edge: Edge) -> None:
    edge.start("a.localhost")
    assert edge.caddy.ensure_running(edge.config) is False
    assert edge.settings.caddy_socket.stat().st_mode & 0o777 == 0o660
    assert edge.caddy.config_hash() == hash_of(edge.config)
    assert json.loads((edge.settings.root / "caddy/config.json").read_text()) == edge.config
    assert (edge.settings.root / "caddy").stat().st_mode & 0o777 == 0o700
    assert edge.get("a.localhost").status == 503


def test_apply_changes_only_what_differs(edge: Edge) -> None:
    edge.start("a.localhost")
    assert edge.caddy.apply(edge.config) is False
    edge.sites.append(EdgeSite("env_b", (("b.localhost", "internal"),)))
    assert edge.get("b.localhost").status == 404
    assert edge.caddy.apply(edge.config) is True
    assert edge.get("b.localhost").status == 503
    assert edge.caddy.apply(edge.config) is False
    assert json.loads((edge.settings.root / "caddy/config.json").read_text()) == edge.config
    assert edge.settings.caddy_socket.stat().st_mode & 0o777 == 0o660


def test_a_foreign_edit_is_said_and_put_back(edge: Edge) -> None:
    edge.start("a.localhost")
    assert edge.caddy.drift(edge.config) == []
    foreign_edit(edge)
    assert edge.caddy.drift(edge.config) == ["apps.http.servers.edge.idle_timeout was added"]
    assert edge.caddy.apply(edge.config) is True
    assert edge.caddy.drift(edge.config) == []


def test_an_edit_between_reading_and_writing_is_seen(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    edge.start("a.localhost")
    edge.sites.append(EdgeSite("env_b", (("b.localhost", "internal"),)))
    read, replace = edge.caddy._read, edge.caddy._replace
    outcomes: list[bool] = []

    def read_then_edited(timeout: float = 10.0) -> tuple[Any, str]:
        result = read(timeout)
        if not outcomes:
            foreign_edit(edge)
        return result

    def spy(config: dict[str, Any], etag: str) -> bool:
        outcomes.append(replace(config, etag))
        return outcomes[-1]

    monkeypatch.setattr(edge.caddy, "_read", read_then_edited)
    monkeypatch.setattr(edge.caddy, "_replace", spy)
    assert edge.caddy.apply(edge.config) is True
    assert outcomes == [False, True]
    monkeypatch.undo()
    assert edge.caddy.drift(edge.config) == []


def test_an_endless_fight_is_given_up_in_words(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    edge.start("a.localhost")
    edge.sites.clear()
    monkeypatch.setattr(edge.caddy, "_replace", lambda *_: False)
    with pytest.raises(Conflict, match="keeps changing"):
        edge.caddy.apply(edge.config)


def test_many_at_once_end_with_what_is_wanted(edge: Edge) -> None:
    edge.start("a.localhost")
    wanted = edge.config
    failed: list[Exception] = []

    def fight(number: int) -> None:
        other = Caddy(edge.settings)
        try:
            for turn in range(5):
                http = {**wanted["apps"]["http"], "grace_period": f"{number * 10 + turn + 1}s"}
                other.apply({**wanted, "apps": {**wanted["apps"], "http": http}})
        except Conflict:
            pass
        except HomeportError as error:
            failed.append(error)
        finally:
            other.close()

    threads = [threading.Thread(target=fight, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    edge.caddy.apply(wanted)
    assert edge.caddy.config_hash() == hash_of(wanted)


def test_a_bad_configuration_changes_nothing_and_leaves_the_socket(edge: Edge) -> None:
    edge.start("a.localhost")
    good = edge.caddy.config_hash()
    bad = edge.config
    bad["apps"]["http"]["servers"]["edge"]["routes"] = [{"handle": [{"handler": "nonsense"}]}]
    with pytest.raises(HomeportError, match=r"Caddy refused the configuration: .*nonsense"):
        edge.caddy.apply(bad)
    assert edge.caddy.config_hash() == good
    assert edge.get("a.localhost").status == 503
    assert json.loads((edge.settings.root / "caddy/config.json").read_text()) == edge.config
    assert edge.caddy.apply(edge.config) is False


def test_the_death_of_caddy_is_mended(edge: Edge) -> None:
    edge.start("a.localhost")
    with upstreams("one") as (one,):
        edge.turn("env_a", docker_route([one.address]))
        first = edge.pid()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not edge.pids(), "Caddy is dead")
        with pytest.raises(Unavailable, match="Caddy does not answer on"):
            edge.caddy.apply(edge.config)
        assert edge.caddy.drift(edge.config)[0].startswith("Caddy does not answer on")
        assert edge.caddy.ensure_running(edge.config) is True
        assert edge.get("a.localhost").body == "one"
        assert edge.pid() != first


def test_another_process_adopts_what_runs(edge: Edge) -> None:
    edge.start("a.localhost")
    pid = edge.pid()
    edge.caddy.close()
    adopter = Caddy(edge.settings)
    assert adopter.ensure_running(edge.config) is False
    assert edge.pids() == [pid]
    adopter.stop()
    adopter.close()
    wait_until(lambda: not edge.pids(), "the adopter stopped it")


def test_it_outlives_us_in_a_session_of_its_own(edge: Edge) -> None:
    edge.start("a.localhost")
    assert os.getsid(edge.pid()) == edge.pid()


def test_stop_is_patient_with_open_requests_and_then_not(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.8)
    edge.start("a.localhost")
    with upstreams("slow", delay=3) as (slow,):
        edge.turn("env_a", docker_route([slow.address]))
        asking = threading.Thread(target=_ignore, args=(lambda: edge.get("a.localhost"),))
        asking.start()
        wait_until(lambda: slow.connections, "the request is on its way")
        begin = time.monotonic()
        edge.caddy.stop()
        assert time.monotonic() - begin > 0.7
        assert edge.pids() == []
        assert not edge.settings.caddy_socket.exists()
        asking.join()
    edge.caddy.stop()


def _ignore(call: Callable[[], object]) -> None:
    with pytest.raises((OSError, http.client.HTTPException)):
        call()


def test_one_that_hangs_is_named_and_can_be_stopped(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.5)
    edge.start("a.localhost")
    os.kill(edge.pid(), signal.SIGSTOP)
    client = edge.caddy._client()._client
    client.timeout = httpx.Timeout(1.0)
    with pytest.raises(Unavailable, match=rf"Caddy \(pid {edge.pid()}\) holds .*caddy\.sock and does not answer"):
        edge.caddy.ensure_running(edge.config)
    edge.caddy.stop()
    assert edge.pids() == []


def test_a_port_in_use_is_an_error_in_words(edge: Edge) -> None:
    with (
        socket.create_server(("127.0.0.1", edge.settings.http_port), reuse_port=True),
        pytest.raises(Unavailable, match=f"port {edge.settings.http_port} is in use by"),
    ):
        edge.start("a.localhost")
    assert edge.pids() == []


def test_a_start_that_fails_says_what_caddy_said(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caddy_start, "check_ports", lambda _: None)
    edge.sites = []
    bad = {**edge.config, "apps": {"nonsense": {}}}
    with pytest.raises(Unavailable, match=r"Caddy ended with 1 while starting: .*nonsense"):
        edge.caddy.ensure_running(bad)


def test_answer(edge: Edge) -> None:
    with pytest.raises(Unavailable, match=r"http://a\.localhost/ gave no answer through port \d+: .*refused"):
        edge.caddy.answer("a.localhost", "/")
    edge.start("a.localhost")
    with upstreams("x" * 5000, delay=0) as (one,):
        edge.turn("env_a", docker_route([one.address]))
        assert edge.caddy.answer("a.localhost", "/") == (200, "x" * 2048)
    assert edge.caddy.answer("b.localhost", "/")[0] == 404
    with upstreams("slow", delay=2) as (slow,):
        edge.turn("env_a", docker_route([slow.address]))
        with pytest.raises(Unavailable, match="timed out"):
            edge.caddy.answer("a.localhost", "/", timeout=0.3)


def test_an_admin_api_that_moved_is_said(edge: Edge) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 2019)) == 0:
            pytest.skip("something listens on port 2019 of this machine")
    edge.start("a.localhost")
    foreign = {"apps": {"http": {"servers": {}}, "pki": edge.config["apps"]["pki"]}}
    pid = edge.pid()
    with admin(edge) as client:
        client.post("/load", json=foreign)
    try:
        wait_until(lambda: len(edge.caddy.drift(edge.config)) == 2, "the admin API moved")
        assert edge.caddy.drift(edge.config)[1].startswith("an admin API answers on localhost:2019")
    finally:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not edge.pids(), "Caddy is dead")


def test_the_internal_ca_serves_https_and_stays_out_of_the_trust_store(edge: Edge) -> None:
    before = _trust_store()
    edge.start("a.localhost")
    with upstreams("one") as (one,):
        edge.turn("env_a", docker_route([one.address]))
        root = edge.settings.root / "caddy/storage/pki/authorities/local/root.crt"
        wait_until(root.exists, "the internal CA exists")
        certificate = wait_until(lambda: _certificate(edge, "a.localhost"), "a certificate for a.localhost")
        assert "Caddy Local Authority" in str(certificate["issuer"])
        assert edge.get("a.localhost").body == "one"
    assert _trust_store() == before


def _certificate(edge: Edge, name: str) -> Any:
    raw = socket.create_connection(("127.0.0.1", edge.settings.https_port), timeout=5)
    try:
        with edge.root_of_internal_ca().wrap_socket(raw, server_hostname=name) as secure:
            return secure.getpeercert()
    except (ssl.SSLError, ConnectionError):
        return None
    finally:
        raw.close()


def _trust_store() -> list[str]:
    folders = ("/usr/local/share/ca-certificates", "/etc/ssl/certs", "/etc/pki/ca-trust/source/anchors")
    return sorted(str(path) for folder in folders for path in Path(folder).glob("*"))


def test_thousand_hosts_are_applied_and_answer(edge: Edge) -> None:
    edge.start("a.localhost")
    edge.sites += [EdgeSite(f"env_{n}", ((f"p{n}.sslip.io", "off"),)) for n in range(1000)]
    edge.caddy.apply(edge.config)
    assert edge.caddy.config_hash() == hash_of(edge.config)
    with upstreams("last") as (last,):
        edge.turn("env_999", docker_route([last.address]))
        assert edge.get("p999.sslip.io").body == "last"
