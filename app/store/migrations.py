"""The schema, as functions in order. Append only: a migration that has landed is never changed."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("homeport")


@migrations()
def create_tenancy(db: Database) -> None:
    """Organizations, people, hosts."""
    for statement in (
        """CREATE TABLE organizations (id TEXT PRIMARY KEY, slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
            created_at TEXT NOT NULL) STRICT""",
        "CREATE TABLE users (id TEXT PRIMARY KEY, login TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL) STRICT",
        """CREATE TABLE members (organization_id TEXT NOT NULL REFERENCES organizations(id),
            user_id TEXT NOT NULL REFERENCES users(id),
            role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
            PRIMARY KEY (organization_id, user_id)) STRICT""",
        """CREATE TABLE hosts (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id),
            name TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL) STRICT""",
    ):
        db.execute(statement)


@migrations()
def create_projects(db: Database) -> None:
    """Projects, environments, domains."""
    for statement in (
        """CREATE TABLE projects (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id),
            slug TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL, git_url TEXT, git_ref TEXT, deploy_key TEXT,
            paused_because TEXT, number INTEGER NOT NULL DEFAULT 0) STRICT""",
        """CREATE TABLE environments (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id),
            project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
            host_id TEXT NOT NULL REFERENCES hosts(id), slug TEXT NOT NULL, created_at TEXT NOT NULL,
            live_deployment_id TEXT, env_version INTEGER NOT NULL DEFAULT 0, scale TEXT NOT NULL DEFAULT '{}',
            stopped INTEGER NOT NULL DEFAULT 0, restarts INTEGER NOT NULL DEFAULT 0, UNIQUE (project_id, slug)) STRICT""",
        """CREATE TABLE domains (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id),
            project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
            environment_id TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
            name TEXT NOT NULL UNIQUE, tls TEXT NOT NULL CHECK (tls IN ('acme', 'internal', 'off')),
            generated INTEGER NOT NULL, created_at TEXT NOT NULL) STRICT""",
    ):
        db.execute(statement)


@migrations()
def create_deployments(db: Database) -> None:
    """Deployments, which are the queue too, and the intents of their side effects."""
    for statement in (
        """CREATE TABLE deployments (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id),
            project_id TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
            environment_id TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE,
            number INTEGER NOT NULL, status TEXT NOT NULL, "trigger" TEXT NOT NULL, created_at TEXT NOT NULL,
            created_by TEXT NOT NULL, "commit" TEXT, tree TEXT, ref TEXT, message TEXT, dirty INTEGER NOT NULL DEFAULT 0,
            plan TEXT, image TEXT, env_version INTEGER NOT NULL DEFAULT 0, rollback_to INTEGER,
            lose_env INTEGER NOT NULL DEFAULT 0, stage_seconds TEXT NOT NULL DEFAULT '{}', started_at TEXT,
            finished_at TEXT, drained_at TEXT, dropped INTEGER, probes INTEGER, longest_wait_ms INTEGER, failure TEXT,
            fence INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
            owner TEXT, lease_until REAL NOT NULL DEFAULT 0, cancel_by TEXT, UNIQUE (project_id, number)) STRICT""",
        "CREATE INDEX deployments_by_status ON deployments (status, environment_id)",
        """CREATE TABLE intents (id TEXT PRIMARY KEY, deployment_id TEXT NOT NULL REFERENCES deployments(id)
            ON DELETE CASCADE, kind TEXT NOT NULL, name TEXT NOT NULL, created_at TEXT NOT NULL, done_at TEXT) STRICT""",
        "CREATE INDEX intents_open ON intents (deployment_id) WHERE done_at IS NULL",
    ):
        db.execute(statement)


@migrations()
def create_env(db: Database) -> None:
    """Env versions; their values, like every secret at rest, as AES-GCM."""
    for statement in (
        """CREATE TABLE env_versions (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL REFERENCES organizations(id),
            environment_id TEXT NOT NULL REFERENCES environments(id) ON DELETE CASCADE, number INTEGER NOT NULL,
            created_at TEXT NOT NULL, created_by TEXT NOT NULL, build_keys TEXT NOT NULL DEFAULT '[]',
            UNIQUE (environment_id, number)) STRICT""",
        """CREATE TABLE secrets (owner_id TEXT NOT NULL, name TEXT NOT NULL, key_id TEXT NOT NULL, value BLOB NOT NULL,
            PRIMARY KEY (owner_id, name)) STRICT, WITHOUT ROWID""",
    ):
        db.execute(statement)


@migrations()
def create_records(db: Database) -> None:
    """Events, usage, idempotency keys."""
    for statement in (
        """CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT,
            organization_id TEXT NOT NULL REFERENCES organizations(id), project_id TEXT, actor TEXT NOT NULL,
            action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL, at TEXT NOT NULL) STRICT""",
        "CREATE INDEX events_by_project ON events (project_id, id)",
        """CREATE TABLE usage (id INTEGER PRIMARY KEY AUTOINCREMENT,
            organization_id TEXT NOT NULL REFERENCES organizations(id), project_id TEXT NOT NULL,
            environment_id TEXT NOT NULL, deployment_id TEXT NOT NULL, metric TEXT NOT NULL, quantity REAL NOT NULL,
            started_at TEXT NOT NULL, ended_at TEXT) STRICT""",
        """CREATE TABLE idempotency (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, answer BLOB NOT NULL,
            created_at TEXT NOT NULL) STRICT""",
    ):
        db.execute(statement)
