"""Secrets at rest: AES-256-GCM, the owner's id and the name as associated data, the key in a file beside the database."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from sqlite_utils import Database

from app.errors import Unavailable
from app.store.connection import Connection

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE = 12
"""Bytes of a GCM nonce (NIST SP 800-38D §8.2)."""


class Vault:
    """Reads and writes the `secrets` table. A value moved to another row or name does not decrypt."""

    def __init__(self, connection: Connection, key_file: Path) -> None:
        """Make the key when there is neither one nor a secret. Raises Unavailable when it is missing or no key."""
        self._connection = connection
        if not key_file.exists():
            if connection.read("SELECT 1 FROM secrets LIMIT 1"):
                raise Unavailable(f"{key_file} is missing, and the database holds secrets", hint=_LOST_KEY)
            _create(key_file)
        self._key_id, self._key = _load(key_file)

    def put(self, db: Database, owner_id: str, name: str, value: str) -> None:
        """Store `value` under (owner, name), replacing what was there. Inside the caller's transaction."""
        nonce = os.urandom(NONCE)
        sealed = nonce + self._cipher().encrypt(nonce, value.encode(), _associated(owner_id, name))
        db.table("secrets").upsert(
            {"owner_id": owner_id, "name": name, "key_id": self._key_id, "value": sealed}, pk=("owner_id", "name")
        )

    def remove(self, db: Database, owner_id: str) -> None:
        """Forget every secret of an owner."""
        db.execute("DELETE FROM secrets WHERE owner_id = :owner", {"owner": owner_id})

    def all(self, owner_id: str) -> dict[str, str]:
        """Name to value for one owner. Raises Unavailable when the key file is not the one they were written with."""
        rows = self._connection.read("SELECT * FROM secrets WHERE owner_id = :owner ORDER BY name", {"owner": owner_id})
        return {row["name"]: self._open(row["owner_id"], row["name"], row["key_id"], row["value"]) for row in rows}

    def get(self, owner_id: str, name: str) -> str | None:
        """One secret, or None."""
        return self.all(owner_id).get(name)

    def _open(self, owner_id: str, name: str, key_id: str, sealed: bytes) -> str:
        from cryptography.exceptions import InvalidTag

        if key_id != self._key_id:
            raise Unavailable(f"a secret was written with key {key_id}, and secret.key holds {self._key_id}", hint=_LOST_KEY)
        try:
            return self._cipher().decrypt(sealed[:NONCE], sealed[NONCE:], _associated(owner_id, name)).decode()
        except InvalidTag as error:
            raise Unavailable("a secret does not decrypt with secret.key", hint=_LOST_KEY) from error

    def _cipher(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key)


_LOST_KEY = "Put the secret.key that belongs to this database back into the data folder."


def _associated(owner_id: str, name: str) -> bytes:
    return f"secrets\0{owner_id}\0{name}".encode()


def _load(path: Path) -> tuple[str, bytes]:
    key_id, _, text = path.read_text(errors="replace").strip().partition(":")
    key = bytes.fromhex(text) if re.fullmatch(r"[0-9a-f]{64}", text) else b""
    if not key_id or len(set(key)) < 8:
        raise Unavailable(f"{path} is no key", hint=_LOST_KEY)
    return key_id, key


def _create(path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{secrets.token_hex(4)}:{secrets.token_hex(32)}\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
