"""Events: who did what to what. The audit log and the live stream are this one table."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlite_utils import Database

from app.model import Event
from app.store.connection import Connection
from app.store.ids import now
from app.store.rows import from_row


class Events:
    """Append and read. `append` takes the caller's transaction: what happened and the record of it are one commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, db: Database, action: str, subject: Any, actor: str, **detail: Any) -> None:  # noqa: ANN401
        """Record `action` (`deployment.live`) on `subject` (a noun with an organization). `detail` carries no secret."""
        project_id = getattr(subject, "project_id", None) or (subject.id if action.startswith("project.") else None)
        db.table("events").insert(
            {
                "organization_id": subject.organization_id,
                "project_id": project_id,
                "actor": actor,
                "action": action,
                "target": subject.id,
                "detail": msgspec.json.encode(detail).decode(),
                "at": now(),
            }
        )

    def record(self, action: str, subject: Any, actor: str, **detail: Any) -> None:  # noqa: ANN401
        """`append` in a transaction of its own."""
        with self._connection.write() as db:
            self.append(db, action, subject, actor, **detail)

    def after(self, last: int, project_id: str | None = None, limit: int = 100) -> list[Event]:
        """Events newer than id `last`, oldest first; of one project when it is given."""
        rows = self._connection.read(
            "SELECT * FROM events WHERE id > :last AND (:project IS NULL OR project_id = :project) ORDER BY id LIMIT :limit",
            {"last": last, "project": project_id, "limit": limit},
        )
        return [from_row(Event, row) for row in rows]

    def newest(self, project_id: str | None = None, limit: int = 100) -> list[Event]:
        """The newest events, newest first."""
        rows = self._connection.read(
            "SELECT * FROM events WHERE (:project IS NULL OR project_id = :project) ORDER BY id DESC LIMIT :limit",
            {"project": project_id, "limit": limit},
        )
        return [from_row(Event, row) for row in rows]
