from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters.git import Commit, Git, Patience
from app.adapters.git_access import environment
from app.adapters.process import Cancel
from app.errors import Canceled, HomeportError, NotFound, SourceRefused, TimedOut, TooLarge
from app.settings import Settings
from tests.repositories import blob, commit, commit_tree, git, left, refs, repository, tar, tree


def test_a_branch_a_tag_and_a_commit_are_pinned(reader: Git, origin: Path) -> None:
    first = repository(origin, {"a": "1"})
    git(origin, "tag", "light")
    git(origin, "tag", "-a", "v1", "-m", "one")
    second = commit(origin, {"a": "2"})
    git(origin, "branch", "feature/x", first)
    url = str(origin)
    assert reader.pin(url, None) == (second, "main")
    assert reader.pin(url, "HEAD") == (second, "main")
    assert reader.pin(url, "main") == (second, "main")
    assert reader.pin(url, "refs/heads/feature/x") == (first, "feature/x")
    assert reader.pin(url, "light") == (first, "light")
    assert reader.pin(url, "v1") == (first, "v1")
    assert reader.pin(url, first) == (first, first)
    assert reader.resolve(url, "feature/x") == first


def test_a_branch_goes_before_a_tag_and_a_tail_is_no_match(reader: Git, origin: Path) -> None:
    first = repository(origin, {"a": "1"})
    git(origin, "tag", "both")
    second = commit(origin, {"a": "2"})
    git(origin, "branch", "both")
    git(origin, "branch", "x/tail")
    assert reader.pin(str(origin), "both") == (second, "both")
    assert reader.pin(str(origin), "refs/tags/both") == (first, "both")
    with pytest.raises(NotFound, match="no branch or tag 'tail'"):
        reader.pin(str(origin), "tail")


def test_an_unknown_branch_names_near_ones(reader: Git, origin: Path) -> None:
    repository(origin, {"a": "1"})
    git(origin, "branch", "develop")
    with pytest.raises(NotFound, match="no branch or tag 'devlop'") as raised:
        reader.pin(str(origin), "devlop")
    assert raised.value.hint == "Did you mean develop?"


def test_a_short_commit_is_told_to_be_whole(reader: Git, origin: Path) -> None:
    first = repository(origin, {"a": "1"})
    with pytest.raises(NotFound) as raised:
        reader.pin(str(origin), first[:8])
    assert "40 characters" in raised.value.hint


def test_an_empty_and_a_missing_repository(reader: Git, origin: Path) -> None:
    with pytest.raises(NotFound, match="There is no repository"):
        reader.pin(str(origin), "main")
    origin.mkdir()
    git(origin, "init", "--quiet")
    with pytest.raises(NotFound, match="no commits yet"):
        reader.pin(str(origin), None)


def test_sha256_repositories_are_refused_in_words(reader: Git, origin: Path) -> None:
    origin.mkdir()
    git(origin, "init", "--quiet", "--object-format=sha256", "--initial-branch=main")
    commit(origin, {"a": "1"})
    with pytest.raises(SourceRefused, match="SHA-256"):
        reader.pin(str(origin), "main")


def test_fetch_brings_one_commit_without_its_history(reader: Git, origin: Path, store: Path, data: Path) -> None:
    first = repository(origin, {"a": "1"})
    second = commit(origin, {"a": "2"}, message="Fix typo\n\nLong.")
    assert reader.fetch(store, str(origin), "main") == second
    assert reader.has(store, second)
    assert not reader.has(store, first)
    assert refs(store) == [f"refs/homeport/{second}"]
    assert git(store, "rev-list", "--count", second) == "1"
    expected = Commit(tree=git(origin, "rev-parse", "HEAD^{tree}"), author="Ada", message="Fix typo\n\nLong.")
    assert reader.describe(store, second) == expected
    assert expected.subject == "Fix typo"
    assert reader.show(store, second) == (expected.tree, expected.message)
    assert left(data) == []
    assert not (store / "FETCH_HEAD").exists()


def test_a_commit_of_the_past_can_be_fetched(reader: Git, origin: Path, store: Path) -> None:
    first = repository(origin, {"a": "1"})
    commit(origin, {"a": "2"})
    assert reader.fetch(store, str(origin), first) == first
    assert git(store, "show", f"{first}:a") == "1"


def test_fetching_again_asks_nobody(reader: Git, origin: Path, store: Path) -> None:
    first = repository(origin, {"a": "1"})
    reader.fetch(store, str(origin), first)
    origin.rename(origin.with_name("gone"))
    assert reader.fetch(store, str(origin), first) == first


def test_a_commit_that_is_gone(reader: Git, origin: Path, store: Path, data: Path) -> None:
    repository(origin, {"a": "1"})
    with pytest.raises(NotFound, match=f"no commit {'0' * 39}1") as raised:
        reader.fetch(store, str(origin), "0" * 39 + "1")
    assert "force-pushed" in raised.value.hint
    assert left(data) == []


@pytest.mark.parametrize("name", ["--upload-pack=touch CANARY", "-uCANARY", "--output=CANARY"])
def test_options_in_place_of_names_run_nothing(
    reader: Git, origin: Path, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    repository(origin, {"a": "1"})
    attack = name.replace("CANARY", str(tmp_path / "canary"))
    refused: list[tuple[type[HomeportError], Callable[[], object]]] = [
        (SourceRefused, lambda: reader.pin(str(origin), attack)),
        (SourceRefused, lambda: reader.pin(attack, "main")),
        (SourceRefused, lambda: reader.fetch(store, str(origin), attack)),
        (SourceRefused, lambda: reader.fetch(store, attack, "main")),
        (NotFound, lambda: reader.describe(store, attack)),
        (NotFound, lambda: reader.check_out(store, attack, tmp_path / "out")),
    ]
    for kind, attempt in refused:
        with pytest.raises(kind):
            attempt()
    assert not reader.has(store, attack)
    assert not list(tmp_path.rglob("canary*"))


def test_helper_programs_and_unallowed_folders_run_nothing(reader: Git, tmp_path: Path, store: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    repository(elsewhere, {"a": "1"})
    for url in (f"ext::touch {tmp_path}/canary", f"ext::sh -c 'touch% {tmp_path}/canary'", str(elsewhere), f"file://{elsewhere}"):
        with pytest.raises(SourceRefused):
            reader.fetch(store, url, "main")
    assert not (tmp_path / "canary").exists()


def test_git_itself_is_told_which_protocols_it_may_speak(tmp_path: Path) -> None:
    """The second wall: were our own parser wrong, git would still refuse."""
    from app.adapters import process

    elsewhere = tmp_path / "elsewhere"
    repository(elsewhere, {"a": "1"})
    env = environment(Path("/nonexistent"), os.environ, {})
    for url in (str(elsewhere), f"file://{elsewhere}", f"ext::touch {tmp_path}/canary", "git://localhost/a"):
        completed = process.run(["git", "ls-remote", "--", url], env=env, check=False)
        assert completed.exit_code == 128
        assert b"not allowed" in completed.stderr
    assert not (tmp_path / "canary").exists()


def test_nothing_of_the_servers_environment_reaches_git() -> None:
    given = {
        "PATH": "/bin",
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_DIR": "/x",
        "SECRET": "s",
        "SSH_AUTH_SOCK": "/s",
        "GIT_EXEC_PATH": "/x",
    }
    env = environment(Path("/store"), given, {"a.b": "c"})
    assert {key: env[key] for key in env if not key.startswith(("GIT_CONFIG_KEY", "GIT_CONFIG_VALUE"))} == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_DIR": "/store",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": env["GIT_CONFIG_COUNT"],
    }
    config = {env[f"GIT_CONFIG_KEY_{i}"]: env[f"GIT_CONFIG_VALUE_{i}"] for i in range(int(env["GIT_CONFIG_COUNT"]))}
    expected = {"core.hooksPath": "/dev/null", "protocol.ext.allow": "never", "fetch.fsckObjects": "true", "a.b": "c"}
    assert expected.items() <= config.items()


def test_the_hosts_certificates_keep_working() -> None:
    env = environment(Path("/store"), {"SSL_CERT_FILE": "/ca.pem", "SSL_CERT_DIR": "/ca"}, {})
    assert (env["SSL_CERT_FILE"], env["SSL_CERT_DIR"], env["GIT_SSL_CAINFO"]) == ("/ca.pem", "/ca", "/ca.pem")
    assert environment(Path("/s"), {"SSL_CERT_FILE": "/a", "GIT_SSL_CAINFO": "/b"}, {})["GIT_SSL_CAINFO"] == "/b"


def test_hooks_of_a_store_never_run(reader: Git, origin: Path, store: Path, tmp_path: Path) -> None:
    repository(origin, {"a": "1"})
    reader.import_archive(store, tar({"a": "1"}), "m", dirty=False)
    (store / "hooks").mkdir()
    for name in ("reference-transaction", "post-update", "pre-auto-gc", "post-checkout", "post-index-change"):
        (store / "hooks" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/canary\n")
        (store / "hooks" / name).chmod(0o755)
    reader.fetch(store, str(origin), "main")
    made, _ = reader.import_archive(store, tar({"b": "1"}), "m", dirty=False)
    reader.check_out(store, made, tmp_path / "out")
    reader.tidy(store, [made])
    assert not (tmp_path / "canary").exists()


def test_a_tree_with_gits_own_folder_does_not_come_in(reader: Git, origin: Path, store: Path, data: Path) -> None:
    repository(origin, {"a": "1"})
    config = blob(origin, b"[core]\n\tfsmonitor = touch canary\n")
    evil = commit_tree(origin, tree(origin, ("40000", b".git", tree(origin, ("100644", b"config", config)))))
    with pytest.raises(SourceRefused, match=r"not safe to read.*hasDotgit"):
        reader.fetch(store, str(origin), "evil")
    assert not reader.has(store, evil)
    assert left(data) == []


def test_old_honest_faults_do_not_matter(reader: Git, origin: Path, store: Path) -> None:
    repository(origin, {"a": "1"})
    top = git(origin, "rev-parse", "HEAD^{tree}")
    text = f"tree {top}\nauthor Ada<ada@example.test> 1 +051800\ncommitter Ada <ada@example.test> 1 +051800\n\nOld\n"
    old = git(origin, "hash-object", "-w", "-t", "commit", "--literally", "--stdin", given=text.encode())
    git(origin, "update-ref", "refs/heads/old", old)
    assert reader.fetch(store, str(origin), "old") == old
    padded = tree(origin, ("0100644", b"a", blob(origin, b"1")))
    assert reader.fetch(store, str(origin), commit_tree(origin, padded))


def test_a_repository_over_the_limit_is_stopped_and_leaves_nothing(tmp_path: Path, data: Path, origin: Path, store: Path) -> None:
    repository(origin, {"a": "1"})
    (origin / "big").write_bytes(os.urandom(24 << 20))
    commit(origin, {})
    settings = Settings(data=str(data), local_repositories=(str(tmp_path / "allowed"),), unpacked_limit=2 << 20)
    with pytest.raises(TooLarge, match="more than 2 MiB for one commit"):
        Git(settings).fetch(store, str(origin), "main")
    assert left(data) == []
    assert refs(store) == []
    assert sum(path.stat().st_size for path in store.rglob("*")) < 1 << 20


def test_a_fetch_can_be_canceled(reader: Git, origin: Path, store: Path, data: Path) -> None:
    repository(origin, {"a": "1"})
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Canceled):
        reader.fetch(store, str(origin), "main", None, cancel)
    assert left(data) == []


def test_a_slow_remote_is_given_up(tmp_path: Path, data: Path, origin: Path, store: Path) -> None:
    """Stands for every host that hangs: its git starts and says nothing."""
    first = repository(origin, {"a": "1"})
    (origin / ".git" / "HEAD").unlink()
    os.mkfifo(origin / ".git" / "HEAD")
    settings = Settings(data=str(data), local_repositories=(str(tmp_path / "allowed"),))
    slow = Git(settings, patience=Patience(listing=0.5, sending=0.5))
    started = time.monotonic()
    with pytest.raises(TimedOut, match="did not answer in time"):
        slow.pin(str(origin), "main")
    with pytest.raises(TimedOut, match="did not answer in time"):
        slow.fetch(store, str(origin), first)
    assert time.monotonic() - started < 20
    assert left(data) == []
