"""Projects. A slug is unique on the box."""

from __future__ import annotations

from typing import Any

from app.errors import AlreadyExists, NotFound
from app.model import Organization, Project
from app.store.connection import Connection
from app.store.events import Events
from app.store.ids import new_id, now
from app.store.rows import from_row, to_row
from app.store.vault import Vault


class Projects:
    """Rows of `projects`, and the secrets that reading their source needs."""

    def __init__(self, connection: Connection, events: Events, vault: Vault) -> None:
        self._connection = connection
        self._events = events
        self._vault = vault

    def create(self, organization: Organization, slug: str, actor: str, **source: Any) -> Project:  # noqa: ANN401
        """A new project. Raises AlreadyExists when the slug is taken."""
        project = Project(id=new_id("prj"), organization_id=organization.id, slug=slug, created_at=now(), **source)
        with self._connection.write() as db:
            if list(db.query("SELECT 1 FROM projects WHERE slug = :slug", {"slug": slug})):
                raise AlreadyExists(
                    f"a project called {slug} exists",
                    hint=f"Deploy onto it with --project {slug}, or choose another name.",
                )
            db.table("projects").insert(to_row(project))
            self._events.append(db, "project.created", project, actor, slug=slug)
        return project

    def get(self, project_id: str) -> Project:
        """By id. Raises NotFound."""
        return self._one("id", project_id)

    def named(self, slug: str) -> Project:
        """By slug. Raises NotFound, naming near ones."""
        return self._one("slug", slug)

    def all(self) -> list[Project]:
        """Every project, by slug."""
        return [from_row(Project, row) for row in self._connection.read("SELECT * FROM projects ORDER BY slug")]

    def change(self, project: Project, action: str, actor: str, **values: Any) -> Project:  # noqa: ANN401
        """Set columns, and record `action` with the names of what changed."""
        with self._connection.write() as db:
            db.table("projects").update(project.id, values)
            self._events.append(db, action, project, actor, changed=sorted(values))
        return self.get(project.id)

    def remove(self, project: Project, actor: str) -> None:
        """Delete the project and everything that hangs on it; its events stay."""
        with self._connection.write() as db:
            for owner in db.query(
                """SELECT env_versions.id AS id FROM env_versions JOIN environments ON environments.id = environment_id
                   WHERE project_id = :id""",
                {"id": project.id},
            ):
                self._vault.remove(db, owner["id"])
            self._vault.remove(db, project.id)
            db.execute(
                "UPDATE usage SET ended_at = :now WHERE project_id = :id AND ended_at IS NULL", {"now": now(), "id": project.id}
            )
            self._events.append(db, "project.deleted", project, actor, slug=project.slug)
            db.execute("DELETE FROM projects WHERE id = :id", {"id": project.id})

    def set_secret(self, project: Project, name: str, value: str) -> None:
        """Keep a secret of the source: `deploy_key`, or `git_credential` (`user:password`)."""
        with self._connection.write() as db:
            self._vault.put(db, project.id, name, value)

    def secrets(self, project: Project) -> dict[str, str]:
        """The secrets of the source by name."""
        return self._vault.all(project.id)

    def _one(self, column: str, value: str) -> Project:
        rows = self._connection.read(f"SELECT * FROM projects WHERE {column} = :value", {"value": value})
        if rows:
            return from_row(Project, rows[0])
        from difflib import get_close_matches

        near = get_close_matches(value, [project.slug for project in self.all()], n=1)
        did_you_mean = f"Did you mean {near[0]}? " if near else ""
        raise NotFound(f"no project {value!r}", hint=did_you_mean + NotFound.default_hint)
