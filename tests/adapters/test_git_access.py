from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from app.adapters import git_access
from app.adapters.git_access import access, global_config, left_over, ssh_config
from app.adapters.git_url import Url, parse_url
from app.adapters.git_words import Source


def test_ssh_gets_a_key_in_a_private_file_and_nothing_else_of_the_users(tmp_path: Path) -> None:
    source = Source(url=parse_url("git@h.test:a"), key=b"KEY")
    with access(source, tmp_path) as env:
        folder = Path(env["HOME"])
        assert env == {
            "HOME": str(folder),
            "GIT_ALLOW_PROTOCOL": "ssh",
            "GIT_CONFIG_GLOBAL": f"{folder}/config",
            "GIT_SSH_COMMAND": f"ssh -F {folder}/ssh_config",
            "GIT_SSH_VARIANT": "ssh",
        }
        assert (folder / "key").read_bytes() == b"KEY\n"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.lstat().st_mode) for path in folder.iterdir() if not path.is_symlink()} == {0o600}
        assert (folder / "known_hosts").readlink() == tmp_path / "known_hosts"
    assert not folder.exists()


def test_ssh_itself_reads_the_configuration_as_meant(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(ssh_config(tmp_path, with_key=True))
    argv = ["ssh", "-G", "-F", str(tmp_path / "config"), "h.test"]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout
    said = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    expected = {
        "batchmode": "yes",
        "identitiesonly": "yes",
        "identityfile": str(tmp_path / "key"),
        "identityagent": "none",
        "stricthostkeychecking": "accept-new",
        "userknownhostsfile": str(tmp_path / "known_hosts"),
        "globalknownhostsfile": "none",
        "permitlocalcommand": "no",
        "clearallforwardings": "yes",
        "connecttimeout": "15",
    }
    assert expected.items() <= said.items()
    assert "proxycommand" not in said


def test_a_credential_is_for_its_host_alone() -> None:
    url = Url(text="https://h.test:8443/a/b", transport="https", host="h.test")
    assert global_config(Source(url=url, credential="u:p")) == (
        '[http "https://h.test:8443/"]\n\textraHeader = "Authorization: Basic dTpw"\n'
    )
    assert global_config(Source(url=url)) == ""


@pytest.mark.parametrize("name", ["plain", 'quo"te', "back\\slash", "semi;colon # x"])
def test_only_an_allowed_folder_is_trusted(tmp_path: Path, name: str) -> None:
    config = tmp_path / "config"
    config.write_text(global_config(Source(url=Url(text=f"/srv/{name}", transport="local"))))
    argv = ["git", "config", "--file", str(config), "--get-all", "safe.directory"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    assert said == [f"/srv/{name}", f"/srv/{name}/.git"]


def test_what_a_killed_run_left_is_found_by_its_own_server(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    with access(Source(url=parse_url("https://h.test/a")), ours) as env:
        assert left_over(ours) == [Path(env["HOME"])]
        assert left_over(theirs) == []
    assert left_over(ours) == []


def test_without_memory_for_it_the_data_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_access, "_SHM", tmp_path / "no-shm")
    with access(Source(url=parse_url("https://h.test/a")), tmp_path) as env:
        assert Path(env["HOME"]).parent == tmp_path
