"""Environments: what serves, with which env, how many, stopped or not."""

from __future__ import annotations

from typing import Any

from app.model import Environment, Host, Project
from app.store.connection import Connection
from app.store.events import Events
from app.store.ids import new_id, now
from app.store.rows import changes, from_row, to_row


class Environments:
    """Rows of `environments`."""

    def __init__(self, connection: Connection, events: Events) -> None:
        self._connection = connection
        self._events = events

    def create(self, project: Project, host: Host, slug: str) -> Environment:
        """A new environment of a project, empty."""
        environment = Environment(
            id=new_id("env"),
            organization_id=project.organization_id,
            project_id=project.id,
            host_id=host.id,
            slug=slug,
            created_at=now(),
        )
        with self._connection.write() as db:
            db.table("environments").insert(to_row(environment))
        return environment

    def get(self, environment_id: str) -> Environment:
        """By id; it exists, since ids come from rows that refer to it."""
        rows = self._connection.read("SELECT * FROM environments WHERE id = :id", {"id": environment_id})
        return from_row(Environment, rows[0])

    def of(self, project: Project, slug: str = "production") -> Environment:
        """A project's environment by name."""
        rows = self._connection.read(
            "SELECT * FROM environments WHERE project_id = :project AND slug = :slug",
            {"project": project.id, "slug": slug},
        )
        return from_row(Environment, rows[0])

    def all(self) -> list[Environment]:
        """Every environment of the box."""
        return [from_row(Environment, row) for row in self._connection.read("SELECT * FROM environments ORDER BY id")]

    def change(self, environment: Environment, action: str, actor: str, **values: Any) -> Environment:  # noqa: ANN401
        """Set columns of its state (`scale`, `stopped`, `restarts`) and record `action` with the new values."""
        with self._connection.write() as db:
            db.table("environments").update(environment.id, changes(Environment, values))
            self._events.append(db, action, environment, actor, **values)
        return self.get(environment.id)
