"""One writer and many readers: what was committed is there, what failed left nothing, and a full disk is said."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import OutOfSpace, Unavailable
from app.store.connection import READERS_KEPT, Connection


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    made = Connection(tmp_path / "a.db")
    with made.write() as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
    yield made
    made.close()


def texts(connection: Connection) -> list[str]:
    return [row["text"] for row in connection.read("SELECT text FROM t ORDER BY id")]


def elsewhere(call: object) -> object:
    """What `call` answers in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=10)  # type: ignore[arg-type]


def test_a_commit_survives_reopening(connection: Connection, tmp_path: Path) -> None:
    with connection.write() as db:
        db.table("t").insert({"text": "one"})
    assert texts(connection) == ["one"]
    raw = sqlite3.connect(tmp_path / "a.db")
    assert raw.execute("SELECT text FROM t").fetchall() == [("one",)]
    raw.close()


def test_every_commit_is_synced_and_foreign_keys_are_on(connection: Connection) -> None:
    with connection.write() as db:
        pragmas = {name: next(iter(db.query(f"PRAGMA {name}")))[name] for name in ("journal_mode", "synchronous", "foreign_keys")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_failing_transaction_leaves_nothing(connection: Connection) -> None:
    def fail() -> None:
        with connection.write() as db:
            db.table("t").insert({"text": "by the table"})
            db.execute("INSERT INTO t (text) VALUES ('by sql')")
            db.table("t").update(1, {"text": "changed"})
            list(db.query("SELECT * FROM t"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert texts(connection) == []
    with connection.write() as db:
        db.table("t").insert({"text": "after"})
    assert texts(connection) == ["after"]


def test_a_failing_statement_undoes_what_came_before_it(connection: Connection) -> None:
    def fail() -> None:
        with connection.write() as db:
            db.table("t").insert({"text": "first"})
            db.execute("INSERT INTO t (text) VALUES (NULL)")

    with pytest.raises(sqlite3.IntegrityError):
        fail()
    assert texts(connection) == []


def test_a_nested_write_is_part_of_the_outer_one(connection: Connection) -> None:
    def fail() -> None:
        with connection.write():
            with connection.write() as inner:
                inner.table("t").insert({"text": "inner"})
            assert elsewhere(lambda: texts(connection)) == []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert texts(connection) == []
    with connection.write() as outer:
        outer.table("t").insert({"text": "outer"})
        with connection.write() as inner:
            inner.table("t").insert({"text": "inner"})
    assert texts(connection) == ["outer", "inner"]


def test_readers_see_commits_only_and_the_writer_sees_its_own(connection: Connection) -> None:
    with connection.write() as db:
        db.table("t").insert({"text": "not yet"})
        assert texts(connection) == ["not yet"]
        assert elsewhere(lambda: texts(connection)) == []
    assert elsewhere(lambda: texts(connection)) == ["not yet"]


def test_a_reader_cannot_write(connection: Connection) -> None:
    with connection.write() as db:
        db.table("t").insert({"text": "stays"})
    with pytest.raises(Unavailable, match="readonly"):
        connection.read("DELETE FROM t RETURNING id")
    assert texts(connection) == ["stays"]


def test_sixteen_threads_lose_no_write(connection: Connection) -> None:
    start = threading.Barrier(16)

    def add(thread: int) -> None:
        start.wait(10)
        for number in range(10):
            with connection.write() as db:
                count = next(iter(db.query("SELECT count(*) AS n FROM t")))["n"]
                db.table("t").insert({"id": count + 1, "text": f"{thread}/{number}"})
                connection.read("SELECT 1")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(add, range(16)))
    assert sorted(texts(connection)) == sorted(f"{thread}/{number}" for thread in range(16) for number in range(10))


def test_reads_from_many_threads_keep_few_connections(connection: Connection) -> None:
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(lambda _: texts(connection), range(60))) == [[]] * 60
    assert connection._readers.qsize() <= READERS_KEPT + 1


def test_a_full_disk_is_said_leaves_nothing_and_is_got_over(connection: Connection) -> None:
    with connection.write() as db:
        db.table("t").insert({"text": "kept"})
        pages = next(iter(db.query("PRAGMA page_count")))["page_count"]
        db.execute(f"PRAGMA max_page_count={pages + 1}")

    def fill() -> None:
        with connection.write() as db:
            db.table("t").insert({"text": "small"})
            db.table("t").insert({"text": "x" * 100_000})

    with pytest.raises(OutOfSpace, match="not stored") as raised:
        fill()
    assert raised.value.status == 507
    assert texts(connection) == ["kept"]
    with connection.write() as db:
        db.execute("PRAGMA max_page_count=1000000")
        db.table("t").insert({"text": "x" * 100_000})
    assert len(texts(connection)) == 2


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(Unavailable, match="cannot be used") as raised:
        Connection(tmp_path / "a.db")
    assert "backup" in raised.value.hint


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened: No such file or directory") as raised:
        Connection(tmp_path / "missing" / "a.db")
    assert "Check the folder" in raised.value.hint


def test_a_path_with_signs_of_an_address_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c %41"
    folder.mkdir()
    made = Connection(folder / "a.db")
    assert made.read("SELECT 1 AS one") == [{"one": 1}]
    made.close()


def test_only_its_owner_reads_the_database(tmp_path: Path) -> None:
    connection = Connection(tmp_path / "new.db")
    with connection.write() as db:
        db.execute("CREATE TABLE t (x TEXT) STRICT")
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("new.db*")} == {0o600}
    connection.close()
