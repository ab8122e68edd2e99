"""Host names of environments. One host, one environment, on the whole box."""

from __future__ import annotations

from app.errors import AlreadyExists, Conflict, NotFound
from app.model import Domain, Environment, Tls
from app.store.connection import Connection
from app.store.events import Events
from app.store.ids import new_id, now
from app.store.rows import from_row, to_row


class Domains:
    """Rows of `domains`."""

    def __init__(self, connection: Connection, events: Events) -> None:
        self._connection = connection
        self._events = events

    def add(self, environment: Environment, name: str, tls: Tls, *, generated: bool, actor: str) -> Domain:
        """Claim `name` for an environment. Raises AlreadyExists naming the project that has it."""
        domain = Domain(
            id=new_id("dom"),
            organization_id=environment.organization_id,
            project_id=environment.project_id,
            environment_id=environment.id,
            name=name,
            tls=tls,
            generated=generated,
            created_at=now(),
        )
        with self._connection.write() as db:
            holders = list(
                db.query(
                    "SELECT slug FROM projects JOIN domains ON domains.project_id = projects.id WHERE domains.name = :name",
                    {"name": name},
                )
            )
            if holders:
                raise AlreadyExists(
                    f"{name} belongs to project {holders[0]['slug']}",
                    hint=f"Remove it there first: homeport domains remove {name}",
                )
            db.table("domains").insert(to_row(domain))
            self._events.append(db, "domain.added", domain, actor, name=name, tls=tls)
        return domain

    def remove(self, environment: Environment, name: str, actor: str) -> Domain:
        """Give `name` up. Raises NotFound, and Conflict for a name that is ours."""
        found = [domain for domain in self.of(environment.id) if domain.name == name]
        if not found:
            raise NotFound(f"{name} is no domain of this project", hint="`homeport domains list` shows them.")
        if found[0].generated:
            raise Conflict(f"{name} was made by Homeport and stays", hint="It goes with the project.")
        with self._connection.write() as db:
            db.execute("DELETE FROM domains WHERE id = :id", {"id": found[0].id})
            self._events.append(db, "domain.removed", found[0], actor, name=name)
        return found[0]

    def of(self, environment_id: str) -> list[Domain]:
        """An environment's domains: the ones people added first, then ours, each in the order they came."""
        rows = self._connection.read(
            "SELECT * FROM domains WHERE environment_id = :id ORDER BY generated, id", {"id": environment_id}
        )
        return [from_row(Domain, row) for row in rows]

    def all(self) -> list[Domain]:
        """Every domain of the box, in a stable order."""
        return [from_row(Domain, row) for row in self._connection.read("SELECT * FROM domains ORDER BY id")]
