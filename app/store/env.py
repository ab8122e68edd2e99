"""Env: immutable, numbered versions of an environment's variables; deployments name the version they run with."""

from __future__ import annotations

import msgspec

from app.errors import NotFound
from app.model import Environment, EnvVar, EnvVersion
from app.store.connection import Connection
from app.store.events import Events
from app.store.ids import new_id, now
from app.store.vault import Vault


class Env:
    """Versions and their values. Values leave here in clear; masking is the caller's choice and the default of the API."""

    def __init__(self, connection: Connection, events: Events, vault: Vault) -> None:
        self._connection = connection
        self._events = events
        self._vault = vault

    def create(
        self, environment: Environment, variables: dict[str, EnvVar], actor: str, action: str = "env.changed"
    ) -> EnvVersion:
        """The next version of an environment, which becomes its head."""
        with self._connection.write() as db:
            rows = db.query("SELECT max(number) AS n FROM env_versions WHERE environment_id = :id", {"id": environment.id})
            number = (next(iter(rows))["n"] or 0) + 1
            version_id = new_id("ver")
            db.table("env_versions").insert(
                {
                    "id": version_id,
                    "organization_id": environment.organization_id,
                    "environment_id": environment.id,
                    "number": number,
                    "created_at": now(),
                    "created_by": actor,
                    "build_keys": msgspec.json.encode(sorted(k for k, v in variables.items() if v.build)).decode(),
                }
            )
            for key, variable in variables.items():
                self._vault.put(db, version_id, key, variable.value or "")
            db.execute("UPDATE environments SET env_version = :number WHERE id = :id", {"number": number, "id": environment.id})
            self._events.append(db, action, environment, actor, version=number, keys=sorted(variables))
        return self.version(environment.id, number)

    def version(self, environment_id: str, number: int) -> EnvVersion:
        """One version with its values in clear; number 0 is the empty one before the first. Raises NotFound."""
        if number == 0:
            return EnvVersion(number=0, created_at="", created_by="", variables=())
        rows = self._connection.read(
            "SELECT * FROM env_versions WHERE environment_id = :id AND number = :number",
            {"id": environment_id, "number": number},
        )
        if not rows:
            raise NotFound(f"no env version {number}", hint="`homeport env list` shows the current one.")
        row = rows[0]
        build = set(msgspec.json.decode(row["build_keys"]))
        values = self._vault.all(row["id"])
        return EnvVersion(
            number=number,
            created_at=row["created_at"],
            created_by=row["created_by"],
            variables=tuple(EnvVar(key=key, value=value, build=key in build) for key, value in values.items()),
        )

    def values(self, environment_id: str, number: int) -> dict[str, str]:
        """Key to value of one version."""
        return {variable.key: variable.value or "" for variable in self.version(environment_id, number).variables}
