"""Intents: a row is written before each side effect, and its name names the effect, so that a crash leaves nothing unknown."""

from __future__ import annotations

from typing import Any

from app.model import Deployment
from app.store.connection import Connection
from app.store.ids import new_id, now


class Intents:
    """Begin, done, and what is still open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, deployment: Deployment, kind: str, name: str) -> str:
        """Say durably that `kind` of effect on `name` comes next. Returns the intent's id."""
        intent = new_id("int")
        with self._connection.write() as db:
            db.table("intents").insert(
                {
                    "id": intent,
                    "deployment_id": deployment.id,
                    "kind": kind,
                    "name": name,
                    "created_at": now(),
                    "done_at": None,
                }
            )
        return intent

    def done(self, intent: str) -> None:
        """The effect has happened, or was undone."""
        with self._connection.write() as db:
            db.execute("UPDATE intents SET done_at = :now WHERE id = :id", {"now": now(), "id": intent})

    def open(self) -> list[dict[str, Any]]:
        """Intents without an end, oldest first, with the status of their deployment."""
        return self._connection.read(
            """SELECT intents.*, deployments.status AS status, deployments.environment_id AS environment_id
               FROM intents JOIN deployments ON deployments.id = intents.deployment_id
               WHERE done_at IS NULL ORDER BY intents.id"""
        )

    def settle(self, deployment_id: str) -> None:
        """Every open intent of a deployment has been cleaned up after."""
        with self._connection.write() as db:
            db.execute(
                "UPDATE intents SET done_at = :now WHERE deployment_id = :id AND done_at IS NULL",
                {"now": now(), "id": deployment_id},
            )
