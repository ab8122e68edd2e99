"""Secrets at rest: only the right key opens them, only where they were put, and a lost key is said, not replaced."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import Unavailable
from app.store import Store
from tests.nouns import new_project, open_store

CANARY = "hunter2-canary-value"


def with_secret(folder: Path) -> None:
    store = open_store(folder)
    store.projects.set_secret(new_project(store), "deploy_key", CANARY)
    store.close()


def secrets_of(folder: Path) -> dict[str, str]:
    store = open_store(folder)
    try:
        return store.projects.secrets(store.projects.named("web"))
    finally:
        store.close()


def test_what_was_put_comes_back_and_the_last_one_wins(store: Store) -> None:
    with store.write() as db:
        store.vault.put(db, "a", "one", "first")
        store.vault.put(db, "a", "one", "ü\n\0" + "x" * 70_000)
        store.vault.put(db, "a", "two", "")
        store.vault.put(db, "b", "one", "of b")
    assert store.vault.all("a") == {"one": "ü\n\0" + "x" * 70_000, "two": ""}
    assert store.vault.get("b", "one") == "of b"
    assert store.vault.get("b", "two") is None
    with store.write() as db:
        store.vault.remove(db, "a")
    assert store.vault.all("a") == {}
    assert store.vault.get("b", "one") == "of b"


def test_nothing_of_a_secret_is_in_the_files(tmp_path: Path) -> None:
    with_secret(tmp_path)
    for file in tmp_path.iterdir():
        assert CANARY.encode() not in file.read_bytes(), file
    assert secrets_of(tmp_path) == {"deploy_key": CANARY}


def test_the_same_value_is_sealed_differently_each_time(store: Store) -> None:
    sealed = []
    for _ in range(2):
        with store.write() as db:
            store.vault.put(db, "a", "one", CANARY)
            sealed.append(next(iter(db.query("SELECT value FROM secrets")))["value"])
    assert sealed[0] != sealed[1]


@pytest.mark.parametrize("column", ["owner_id", "name"])
def test_a_value_moved_to_another_row_or_name_does_not_decrypt(store: Store, column: str) -> None:
    with store.write() as db:
        store.vault.put(db, "a", "one", CANARY)
        db.execute(f"UPDATE secrets SET {column} = 'moved'")
    with pytest.raises(Unavailable, match="does not decrypt"):
        store.vault.all("moved" if column == "owner_id" else "a")


def test_two_swapped_rows_do_not_decrypt(store: Store) -> None:
    with store.write() as db:
        store.vault.put(db, "a", "one", "value of a")
        store.vault.put(db, "b", "one", "value of b")
        values = {row["owner_id"]: row["value"] for row in db.query("SELECT * FROM secrets")}
        db.execute("UPDATE secrets SET value = :v WHERE owner_id = 'a'", {"v": values["b"]})
        db.execute("UPDATE secrets SET value = :v WHERE owner_id = 'b'", {"v": values["a"]})
    for owner in "ab":
        with pytest.raises(Unavailable, match="does not decrypt"):
            store.vault.all(owner)


@pytest.mark.parametrize("position", [0, 12, -1], ids=["nonce", "text", "tag"])
def test_one_flipped_bit_is_found(store: Store, position: int) -> None:
    with store.write() as db:
        store.vault.put(db, "a", "one", CANARY)
        value = bytearray(next(iter(db.query("SELECT value FROM secrets")))["value"])
        value[position] ^= 1
        db.execute("UPDATE secrets SET value = :v", {"v": bytes(value)})
    with pytest.raises(Unavailable, match="does not decrypt"):
        store.vault.get("a", "one")


def test_the_key_file_is_ours_alone_and_is_made_once(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    key = tmp_path / "secret.key"
    assert key.stat().st_mode & 0o7777 == 0o600
    text = key.read_text()
    assert re.fullmatch(r"[0-9a-f]{8}:[0-9a-f]{64}\n", text)
    open_store(tmp_path).close()
    assert key.read_text() == text
    assert not (tmp_path / "secret.tmp").exists()


def test_a_missing_key_is_refused_when_there_are_secrets(tmp_path: Path) -> None:
    with_secret(tmp_path)
    (tmp_path / "secret.key").unlink()
    with pytest.raises(Unavailable, match="is missing, and the database holds secrets") as raised:
        open_store(tmp_path)
    assert "secret.key" in raised.value.hint
    assert not (tmp_path / "secret.key").exists()


def test_a_missing_key_is_made_when_there_is_no_secret(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    (tmp_path / "secret.key").unlink()
    open_store(tmp_path).close()
    assert (tmp_path / "secret.key").exists()


def another_key(text: str) -> str:
    return "0badf00d:" + text.partition(":")[2]


def another_value_of_the_same_key(text: str) -> str:
    key_id, _, key = text.strip().partition(":")
    return f"{key_id}:{key[::-1]}\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [(another_key, "written with key"), (another_value_of_the_same_key, "does not decrypt")],
    ids=["id", "value"],
)
def test_a_wrong_key_is_refused(tmp_path: Path, change: Callable[[str], str], said: str) -> None:
    with_secret(tmp_path)
    key = tmp_path / "secret.key"
    key.write_text(change(key.read_text()))
    with pytest.raises(Unavailable, match=said) as raised:
        secrets_of(tmp_path)
    assert "belongs to this database" in raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "abcd1234",
        "abcd1234:",
        ":" + "0123456789abcdef" * 4,
        "abcd1234:" + "0123456789abcdef" * 3,
        "abcd1234:" + "0123456789abcdef" * 3 + "0123456789abcde",
        "abcd1234:" + "0" * 64,
        "abcd1234:" + "z" * 64,
        "abcd1234:" + "0123456789abcdef" * 4 + "\nmore",
        "\udcff\udcfe",
    ],
    ids=["empty", "blank", "no value", "empty value", "no id", "short", "odd", "zeros", "no hex", "two lines", "no text"],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    open_store(tmp_path).close()
    (tmp_path / "secret.key").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Unavailable, match="is no key"):
        open_store(tmp_path)


def test_a_secret_goes_with_a_transaction_that_fails(store: Store) -> None:
    def fail() -> None:
        with store.write() as db:
            store.vault.put(db, "a", "one", CANARY)
            db.execute("INSERT INTO users (id) VALUES (NULL)")

    with pytest.raises(sqlite3.IntegrityError):
        fail()
    assert store.vault.all("a") == {}
