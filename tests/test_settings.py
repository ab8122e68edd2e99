"""Settings: the file, then the environment, then flags; and sockets that the kernel can hold."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from app.errors import BadInput
from app.settings import SOCKET_PATH_MAX, Settings, default_data, load, socket_folder


def write(folder: Path, text: str) -> None:
    (folder / "server.toml").write_text(text)


def test_nothing_given_is_the_defaults(tmp_path: Path) -> None:
    assert load({"data": str(tmp_path)}, {}) == Settings(data=str(tmp_path))


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, 'http_port = 1001\nhttps_port = 1002\nbuild_slots = 3\nbase_domain = "file.test"\n')
    environ = {"HOMEPORT_HTTPS_PORT": "2002", "HOMEPORT_BUILD_SLOTS": "4", "HOMEPORT_DATA": str(tmp_path)}
    found = load({"build_slots": 5, "http_port": None}, environ)
    assert (found.http_port, found.https_port, found.build_slots) == (1001, 2002, 5)
    assert found.base_domain == "file.test"


def test_the_data_folder_is_the_flag_then_the_variable_and_never_the_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        write(folder, 'data = "/elsewhere"\n')
    assert load({"data": str(one)}, {"HOMEPORT_DATA": str(two)}).data == str(one)
    assert load({}, {"HOMEPORT_DATA": str(two)}).data == str(two)


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({"data": "here"}, {}).data == str(tmp_path / "here")


def test_text_becomes_what_the_field_is(tmp_path: Path) -> None:
    environ = {"HOMEPORT_BUILD_CPUS": "1.5", "HOMEPORT_UPLOAD_LIMIT": "1024", "HOMEPORT_LOCAL_REPOSITORIES": "/srv/a::/srv/b"}
    found = load({"data": str(tmp_path)}, environ)
    assert (found.build_cpus, found.upload_limit, found.local_repositories) == (1.5, 1024, ("/srv/a", "/srv/b"))
    write(tmp_path, 'local_repositories = ["/srv/c"]')
    assert load({"data": str(tmp_path)}, {}).local_repositories == ("/srv/c",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("htp_port = 80", "htp_port"),
        ('http_port = "eighty"', "http_port"),
        ("base_domain = 5", "base_domain"),
        ("http_port = [80]", "http_port"),
        ("http_port 80", "server.toml"),
        ("\udcff", "server.toml"),
    ],
    ids=["unknown key", "word for a number", "number for a text", "list", "no TOML", "no UTF-8"],
)
def test_a_wrong_file_is_said_with_the_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "server.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInput, match=said) as raised:
        load({"data": str(tmp_path)}, {})
    assert "Correct" in raised.value.hint


def test_a_wrong_variable_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="http_port") as raised:
        load({"data": str(tmp_path)}, {"HOMEPORT_HTTP_PORT": "eighty"})
    assert "HOMEPORT_*" in raised.value.hint


def test_other_variables_of_ours_are_no_settings(tmp_path: Path) -> None:
    assert load({"data": str(tmp_path)}, {"HOMEPORT_SERVER": "/x.sock", "HOMEPORT_CI": "1"}) == Settings(data=str(tmp_path))


def test_where_things_are(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    assert (settings.root, settings.database, settings.key_file) == (tmp_path, tmp_path / "homeport.db", tmp_path / "secret.key")
    assert settings.api_socket.parent == settings.caddy_socket.parent == settings.sockets


@pytest.mark.parametrize("length", [SOCKET_PATH_MAX - len("/caddy.sock") + more for more in (-1, 0, 1, 2, 80)])
def test_a_socket_can_be_bound_however_long_the_path_is(data_folder: Path, length: int) -> None:
    folder = data_folder / ("x" * (length - len(os.fsencode(data_folder)) - 1))
    folder.mkdir()
    assert len(os.fsencode(folder)) == length
    sockets = socket_folder(folder)
    fits = length <= SOCKET_PATH_MAX - len("/caddy.sock")
    assert (sockets == folder) is fits
    path = sockets / "caddy.sock"
    assert len(os.fsencode(path)) <= SOCKET_PATH_MAX
    if fits:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))


def test_a_path_of_wide_letters_counts_in_bytes(tmp_path: Path) -> None:
    assert socket_folder(tmp_path / ("ü" * 60)).parent == Path("/tmp")


def test_long_paths_get_folders_of_their_own_that_do_not_change(tmp_path: Path) -> None:
    one, two = (socket_folder(tmp_path / (letter * 120)) for letter in "ab")
    assert one != two
    assert one == socket_folder(tmp_path / ("a" * 120))
    assert one.name.startswith(f"homeport-{os.getuid()}-")


def test_the_same_folder_by_another_name_has_the_same_sockets(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert socket_folder(tmp_path / "link") == socket_folder(tmp_path / "real")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert default_data() == Path("/var/lib/homeport")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/ada/.data")
    assert default_data() == Path("/home/ada/.data/homeport")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_data() == Path("/home/ada/.local/share/homeport")
