"""One writer, many readers over one SQLite file in WAL mode with synchronous=FULL: a commit that returned survives power loss.

The writer is one connection behind a lock, so that writes never wait on SQLITE_BUSY and checkpoints never run beside a write
(the WAL-reset bug of SQLite before 3.51.3). Readers are read-only connections from a small pool.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any

from sqlite_utils import Database

from app.errors import HomeportError, OutOfSpace, Unavailable

CHECKPOINT_PAGES = 1000
READERS_KEPT = 4


class Connection:
    """Access to one database file. Every write happens inside `write()`; every read goes through `read()`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._readers: LifoQueue[Database] = LifoQueue()
        try:
            path.touch(mode=0o600)  # its -wal and -shm take the mode from it
        except OSError as error:
            raise Unavailable(
                f"{path} cannot be opened: {error.strerror}", hint="Check the folder (`ls -l`, `df -h`)."
            ) from error
        with _translated():
            raw = sqlite3.connect(path, check_same_thread=False, timeout=10)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
                raw.execute(f"PRAGMA {pragma}")
            raw.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
            raw.execute("PRAGMA cache_size=-1024")
        self._writer = Database(raw)

    @contextmanager
    def write(self) -> Iterator[Database]:
        """A transaction that is the only writer from its first statement (BEGIN IMMEDIATE). Nested calls join the outer one.

        Raises OutOfSpace or Unavailable in our words; nothing of the transaction remains then.
        """
        with self._lock, _translated():
            if self._depth:
                yield self._writer
                return
            connection = self._writer.conn
            connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield self._writer
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.rollback()
                raise
            finally:
                self._depth = 0

    def read(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """All rows of one SELECT, as of the last commit; inside `write()`, as of that transaction."""
        with _translated():
            if self._depth and self._lock.acquire(blocking=False):
                try:
                    if self._depth:
                        return list(self._writer.query(sql, parameters or {}))
                finally:
                    self._lock.release()
            with self._reader() as reader:
                return list(reader.query(sql, parameters or {}))

    def close(self) -> None:
        """Close every connection; the writer's last act is a checkpoint."""
        with self._lock:
            while True:
                try:
                    self._readers.get_nowait().conn.close()
                except Empty:
                    break
            self._writer.conn.close()

    @contextmanager
    def _reader(self) -> Iterator[Database]:
        try:
            reader = self._readers.get_nowait()
        except Empty:
            raw = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, check_same_thread=False, timeout=10)
            raw.execute("PRAGMA query_only=ON")
            raw.execute("PRAGMA cache_size=-512")
            reader = Database(raw)
        try:
            yield reader
        finally:
            if self._readers.qsize() < READERS_KEPT:
                self._readers.put(reader)
            else:
                reader.conn.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _ours(error) from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.IntegrityError):
            raise
        raise Unavailable(
            f"the database cannot be used: {error}", hint="Stop homeportd and restore the newest backup of homeport.db."
        ) from error


def _ours(error: sqlite3.OperationalError) -> HomeportError:
    text = str(error)
    if "full" in text:
        return OutOfSpace("the disk is full: the change was not stored")
    if "readonly" in text or "disk I/O" in text or "unable to open" in text:
        return Unavailable(f"the database cannot be written: {text}", hint="Check the disk (`dmesg`, `df -h`, `ls -l`).")
    return Unavailable(f"database: {text}")
