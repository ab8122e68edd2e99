"""git against real hosts: https with authentication, redirects and faults, and sshd with deploy keys."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.adapters.git import Git, Patience
from app.errors import BadInput, HomeportError, NotFound, SourceRefused, TimedOut, TooLarge, Unavailable
from app.settings import Settings
from tests.remotes import SSHD, HttpsHost, SshHost, has_sshd, seen_by_other_processes
from tests.repositories import commit, git, repository

pytestmark = pytest.mark.e2e

SECRET = "hunter2-canary-0123456789"
CREDENTIAL = f"ada:{SECRET}"
BASIC = base64.b64encode(CREDENTIAL.encode()).decode()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return tmp_path / "hosted" / "site"


@pytest.fixture
def first(origin: Path) -> str:
    return repository(origin, {"a": "1"})


@pytest.fixture
def host(tmp_path: Path, first: str) -> Iterator[HttpsHost]:
    (tmp_path / "tls").mkdir()
    with HttpsHost(tmp_path / "hosted", tmp_path / "tls").running() as host:
        yield host


@pytest.fixture
def reader(data: Path, host: HttpsHost) -> Git:
    return made(data, host)


def made(data: Path, host: HttpsHost, patience: Patience | None = None, limit: int = 1 << 30) -> Git:
    environ = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(host.ca)}
    return Git(Settings(data=str(data), unpacked_limit=limit), patience=patience, environ=environ)


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_branch_over_https(reader: Git, host: HttpsHost, store: Path, first: str) -> None:
    url = host.url("site/.git")
    assert reader.pin(url, None) == (first, "main")
    assert reader.fetch(store, url, "main") == first
    assert git(store, "show", f"{first}:a") == "1"


def test_a_later_fetch_brings_what_is_new(reader: Git, host: HttpsHost, store: Path, origin: Path) -> None:
    reader.fetch(store, host.url("site/.git"), "main")
    second = commit(origin, {"b": "2"})
    assert reader.fetch(store, host.url("site/.git"), "main") == second
    assert git(store, "show", f"{second}:a") == "1"
    assert git(store, "show", f"{second}:b") == "2"


def test_a_force_push_between_pin_and_fetch(reader: Git, host: HttpsHost, store: Path, origin: Path) -> None:
    url = host.url("site/.git")
    pinned, _ = reader.pin(url, "main")
    git(origin, "commit", "--amend", "--quiet", "-m", "Other")
    assert reader.fetch(store, url, pinned) == pinned
    git(origin, "reflog", "expire", "--expire=now", "--all")
    git(origin, "gc", "--quiet", "--prune=now")
    with pytest.raises(NotFound, match="no longer has it"):
        reader.fetch(store.with_name("other.git"), url, pinned)


def test_a_host_that_gives_no_commit_by_its_id(reader: Git, host: HttpsHost, store: Path, origin: Path, first: str) -> None:
    commit(origin, {"a": "2"})
    host.protocol = False
    assert reader.fetch(store, host.url("site/.git"), first) == first
    assert git(store, "for-each-ref", "--format=%(refname)") == f"refs/homeport/{first}"
    with pytest.raises(NotFound, match="no longer has it"):
        reader.fetch(store, host.url("site/.git"), "0" * 39 + "1")


@pytest.mark.parametrize("in_url", [True, False])
def test_a_credential_is_seen_by_nobody_but_the_host(
    reader: Git, host: HttpsHost, store: Path, data: Path, first: str, in_url: bool
) -> None:
    host.credential = CREDENTIAL
    seen: list[str] = []
    host.on_request = lambda: seen.extend([*seen_by_other_processes(SECRET), *seen_by_other_processes(BASIC)])
    url = host.url("site/.git").replace("//", f"//{CREDENTIAL}@") if in_url else host.url("site/.git")
    assert reader.fetch(store, url, "main", None if in_url else CREDENTIAL.encode()) == first
    assert seen == []
    kept = everything_below(data)
    assert SECRET.encode() not in kept
    assert BASIC.encode() not in kept
    assert list(Path("/dev/shm").glob("homeport-git-*")) == []


def test_without_a_credential_the_words_tell_of_deploy_keys(reader: Git, host: HttpsHost) -> None:
    host.credential = CREDENTIAL
    for key in (None, b"ada:wrong"):
        with pytest.raises(BadInput, match="does not let us read") as raised:
            reader.pin(host.url("site/.git"), "main", key)
        assert "deploy key" in raised.value.hint


@pytest.mark.parametrize("mode", ["500", "403", "404"])
def test_an_error_that_echoes_the_credential_shows_none(reader: Git, host: HttpsHost, mode: str) -> None:
    host.mode = mode
    with pytest.raises(HomeportError) as raised:
        reader.pin(host.url("site/.git"), "main", CREDENTIAL.encode())
    said = f"{raised.value} {raised.value.hint} {raised.value!r}"
    assert SECRET not in said
    assert BASIC not in said


def test_a_credential_does_not_follow_to_another_host(reader: Git, host: HttpsHost, tmp_path: Path) -> None:
    got: list[str] = []
    (tmp_path / "tls2").mkdir()
    other = HttpsHost(tmp_path / "hosted", tmp_path / "tls2")
    other.credential = CREDENTIAL
    (tmp_path / "both.pem").write_bytes(host.ca.read_bytes() + other.ca.read_bytes())
    other.on_request = lambda: got.append("asked")
    with other.running():
        host.mode = f"https://127.0.0.1:{other.port}"
        environ = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(tmp_path / "both.pem")}
        reader = Git(Settings(data=str(tmp_path / "data")), environ=environ)
        with pytest.raises(BadInput, match="does not let us read"):
            reader.pin(host.url("site/.git"), "main", CREDENTIAL.encode())
    assert got  # it was asked, and would have answered to the credential


def test_a_redirect_to_plain_http_is_not_followed(reader: Git, host: HttpsHost) -> None:
    host.mode = "http://127.0.0.1:9"
    with pytest.raises(HomeportError, match=r'Protocol "http"|http, which is not taken'):
        reader.pin(host.url("site/.git"), "main")


def test_a_missing_repository(reader: Git, host: HttpsHost) -> None:
    with pytest.raises(NotFound, match=r"no repository .*/nothing"):
        reader.pin(host.url("nothing"), "main")


def test_an_unknown_certificate(data: Path, host: HttpsHost) -> None:
    reader = Git(Settings(data=str(data)), environ={"PATH": os.environ["PATH"]})
    with pytest.raises(Unavailable, match="certificate of localhost cannot be trusted") as raised:
        reader.pin(host.url("site/.git"), "main")
    assert "SSL_CERT_FILE" in raised.value.hint


def test_an_unknown_host(reader: Git) -> None:
    with pytest.raises(Unavailable, match=r"no-such-host\.invalid is not known"):
        reader.pin("https://no-such-host.invalid/a", "main")


def test_a_host_that_is_down(reader: Git, free_port: int) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        reader.pin(f"https://localhost:{free_port}/a", "main")


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_a_host_that_is_too_slow(data: Path, host: HttpsHost, store: Path, first: str, mode: str) -> None:
    host.mode = mode
    reader = made(data, host, Patience(listing=1, sending=1, silence=30))
    started = time.monotonic()
    with pytest.raises(TimedOut):
        reader.pin(host.url("site/.git"), "main")
    with pytest.raises(TimedOut):
        reader.fetch(store, host.url("site/.git"), first)
    assert time.monotonic() - started < 29


def test_a_host_that_drips_is_left_before_the_wall(data: Path, host: HttpsHost) -> None:
    host.mode = "drip"
    reader = made(data, host, Patience(listing=60, sending=60, silence=1))
    started = time.monotonic()
    with pytest.raises(TimedOut, match="too slowly"):
        reader.pin(host.url("site/.git"), "main")
    assert time.monotonic() - started < 59


def test_too_much_is_stopped(data: Path, host: HttpsHost, store: Path, origin: Path) -> None:
    (origin / "big").write_bytes(os.urandom(24 << 20))
    commit(origin, {})
    with pytest.raises(TooLarge):
        made(data, host, limit=1 << 20).fetch(store, host.url("site/.git"), "main")
    assert not list(store.glob("incoming-*"))


@pytest.fixture
def ssh_host(tmp_path: Path, first: str, free_ports: Callable[[int], list[int]]) -> Iterator[SshHost]:
    if not has_sshd():
        pytest.skip(f"no {SSHD} that this user can start; ./tests/run installs it")
    (tmp_path / "sshd").mkdir()
    host = SshHost(tmp_path / "sshd", free_ports(1)[0])
    host.new_host_key()
    with host.running():
        yield host


def test_a_deploy_key_over_ssh(data: Path, ssh_host: SshHost, store: Path, origin: Path, first: str) -> None:
    reader = Git(Settings(data=str(data)))
    private, public = reader.generate_key()
    with pytest.raises(BadInput, match=r"127\.0\.0\.1 does not let us read") as raised:
        reader.pin(ssh_host.url(origin), "main", private)
    assert "deploy keys" in raised.value.hint
    with pytest.raises(BadInput, match="does not let us read"):
        reader.pin(ssh_host.url(origin), "main")
    ssh_host.authorized.write_text(public + "\n")
    assert reader.pin(ssh_host.url(origin), None, private) == (first, "main")
    assert reader.fetch(store, ssh_host.url(origin), "main", private) == first
    assert f"[127.0.0.1]:{ssh_host.port} " in (data / "known_hosts").read_text()
    assert private not in everything_below(data)
    assert list(Path("/dev/shm").glob("homeport-git-*")) == []


def test_a_missing_repository_over_ssh(data: Path, ssh_host: SshHost, origin: Path) -> None:
    reader = Git(Settings(data=str(data)))
    private, public = reader.generate_key()
    ssh_host.authorized.write_text(public + "\n")
    with pytest.raises(NotFound, match="There is no repository"):
        reader.pin(ssh_host.url(origin.with_name("nothing")), "main", private)


def test_a_changed_host_key_is_refused(data: Path, ssh_host: SshHost, origin: Path, tmp_path: Path) -> None:
    reader = Git(Settings(data=str(data)))
    private, public = reader.generate_key()
    ssh_host.authorized.write_text(public + "\n")
    reader.pin(ssh_host.url(origin), "main", private)
    known = (data / "known_hosts").read_text()
    kind, key = public.split()[:2]
    (data / "known_hosts").write_text(f"[127.0.0.1]:{ssh_host.port} {kind} {key}\n")
    with pytest.raises(SourceRefused, match="another host key") as raised:
        reader.pin(ssh_host.url(origin), "main", private)
    assert "known_hosts" in raised.value.hint
    (data / "known_hosts").write_text(known)
    reader.pin(ssh_host.url(origin), "main", private)


def test_a_host_without_the_new_protocol_over_ssh(data: Path, ssh_host: SshHost, store: Path, origin: Path, first: str) -> None:
    """Many an sshd drops the variable that asks for it: a commit that is no branch's tip comes by the long way."""
    commit(origin, {"a": "2"})
    reader = Git(Settings(data=str(data)))
    private, public = reader.generate_key()
    ssh_host.authorized.write_text(public + "\n")
    assert reader.fetch(store, ssh_host.url(origin), first, private) == first
