"""The store: the only SQL of Homeport. One attribute per noun; writes of several nouns share `store.write()`."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlite_utils import Database

from app.errors import Unavailable
from app.model import Deployment, Desired, Environment, Host, Organization, Process
from app.settings import Settings
from app.store.connection import Connection
from app.store.deployments import Deployments
from app.store.domains import Domains
from app.store.env import Env
from app.store.environments import Environments
from app.store.events import Events
from app.store.ids import new_id, now
from app.store.intents import Intents
from app.store.migrations import migrations
from app.store.projects import Projects
from app.store.records import Idempotency, Usage
from app.store.rows import from_row, to_row
from app.store.vault import Vault


class Store:
    """Opened once per process. Raises Unavailable for a database that is newer than this version, or cannot be used."""

    def __init__(self, settings: Settings, owner_login: str = "owner") -> None:
        connection = Connection(settings.database)
        self._connection = connection
        self._migrate()
        self._found(owner_login)
        self.vault = Vault(connection, settings.key_file)
        self.events = Events(connection)
        self.usage = Usage(connection)
        self.intents = Intents(connection)
        self.idempotency = Idempotency(connection)
        self.projects = Projects(connection, self.events, self.vault)
        self.environments = Environments(connection, self.events)
        self.domains = Domains(connection, self.events)
        self.env = Env(connection, self.events, self.vault)
        self.deployments = Deployments(connection, self.events, self.usage)

    @property
    def organization(self) -> Organization:
        """The box's first organization; the only one until the issue on identity."""
        return from_row(Organization, self._connection.read("SELECT * FROM organizations ORDER BY id LIMIT 1")[0])

    @property
    def host(self) -> Host:
        """This machine."""
        return from_row(Host, self._connection.read("SELECT * FROM hosts WHERE name = 'local'")[0])

    def write(self) -> AbstractContextManager[Database]:
        """One transaction over what several nouns store."""
        return self._connection.write()

    def close(self) -> None:
        """Close the file; nothing is usable afterwards."""
        self._connection.close()

    def integrity(self) -> list[str]:
        """What SQLite finds wrong with the file and its foreign keys; empty is well."""
        found = [row["integrity_check"] for row in self._connection.read("PRAGMA integrity_check")]
        broken = self._connection.read("PRAGMA foreign_key_check")
        return [text for text in found if text != "ok"] + [f"foreign key: {row['table']} row {row['rowid']}" for row in broken]

    def desired(self, environment: Environment, deployment: Deployment) -> Desired:
        """What should run in `environment` when `deployment` (planned and built) is the one that serves."""
        project = self.projects.get(environment.project_id)
        plan, image = deployment.plan, deployment.image
        if plan is None or image is None:
            raise Unavailable(f"deployment #{deployment.number} of {project.slug} has not been built")
        scale = {**plan.scale, **environment.scale}
        processes = (
            ()
            if environment.stopped or image.runtime == "static"
            else tuple(
                Process(name=name, command=command, replicas=scale.get(name, 1)) for name, command in plan.processes.items()
            )
        )
        return Desired(
            organization_id=project.organization_id,
            project_id=project.id,
            project=project.slug,
            environment_id=environment.id,
            environment=environment.slug,
            host_id=environment.host_id,
            deployment_id=deployment.id,
            number=deployment.number,
            image=image,
            env_version=deployment.env_version,
            plan=plan,
            processes=processes,
            domains=tuple(domain.name for domain in self.domains.of(environment.id)),
            stopped=environment.stopped,
            restarts=environment.restarts,
        )

    def live(self, environment: Environment) -> Desired | None:
        """What should run in `environment` now; None before its first live deployment."""
        if environment.live_deployment_id is None:
            return None
        return self.desired(environment, self.deployments.get(environment.live_deployment_id))

    def _migrate(self) -> None:
        ours = {migration.name for migration in migrations.pending(Database(memory=True))}
        with self._connection.write() as db:
            newer = {migration.name for migration in migrations.applied(db)} - ours
            if newer:
                raise Unavailable(
                    f"the database has migrations that this version does not know: {', '.join(sorted(newer))}",
                    hint="Install the newer Homeport again, or restore a backup of this version.",
                )
            migrations.apply(db)

    def _found(self, login: str) -> None:
        if self._connection.read("SELECT 1 FROM organizations LIMIT 1"):
            return
        organization = Organization(id=new_id("org"), slug="home", name="Home", created_at=now())
        user = new_id("usr")
        with self._connection.write() as db:
            db.table("organizations").insert(to_row(organization))
            db.table("users").insert({"id": user, "login": login, "created_at": now()})
            db.table("members").insert({"organization_id": organization.id, "user_id": user, "role": "owner"})
            host = Host(id=new_id("hst"), organization_id=organization.id, name="local", created_at=now())
            db.table("hosts").insert(to_row(host))
