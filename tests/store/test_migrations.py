"""The schema: strict types, foreign keys, whole or not at all, and never older than what is on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations

import app.store
from app.errors import Unavailable
from app.store import Store
from app.store.migrations import migrations
from tests.nouns import new_project, open_store


def test_every_table_is_strict(store: Store) -> None:
    with store.write() as db:
        strict = {row["name"]: row["strict"] for row in db.query("PRAGMA table_list") if row["type"] == "table"}
    ours = {name: flag for name, flag in strict.items() if not name.startswith(("sqlite_", "_sqlite_"))}
    assert len(ours) >= 13
    assert set(ours.values()) == {1}, ours


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE projects SET number = 'three'",
        "UPDATE projects SET slug = NULL",
        "INSERT INTO members (organization_id, user_id, role) "
        "SELECT organizations.id, users.id, 'king' FROM organizations, users",
        "INSERT INTO environments (id, organization_id, project_id, host_id, slug, created_at) "
        "SELECT 'e', organizations.id, 'nobody', hosts.id, 's', 'now' FROM organizations, hosts",
        "INSERT INTO intents (id, deployment_id, kind, name, created_at) VALUES ('i', 'nobody', 'k', 'n', 'now')",
        "INSERT INTO projects (id, organization_id, slug, created_at) SELECT 'p', id, 'web', 'now' FROM organizations",
    ],
    ids=["type", "null", "role", "foreign key", "foreign key of an intent", "unique slug"],
)
def test_a_row_that_cannot_be_is_refused(store: Store, sql: str) -> None:
    project = new_project(store)
    with pytest.raises(sqlite3.IntegrityError), store.write() as db:
        db.execute(sql)
    assert store.projects.all() == [project]


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    organization, host, project = first.organization, first.host, new_project(first)
    first.close()
    again = open_store(tmp_path)
    assert (again.organization, again.host, again.projects.all()) == (organization, host, [project])
    with again.write() as db:
        assert [row["login"] for row in db.query("SELECT login FROM users")] == ["ada"]
        assert [row["role"] for row in db.query("SELECT role FROM members")] == ["owner"]
    again.close()


def test_a_newer_database_is_refused_by_name(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    raw = sqlite3.connect(tmp_path / "homeport.db")
    raw.execute(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('homeport', 'create_clusters', '2027-01-01')"
    )
    raw.commit()
    raw.close()
    with pytest.raises(Unavailable, match="does not know: create_clusters") as raised:
        open_store(tmp_path)
    assert "newer Homeport" in raised.value.hint


def test_a_migration_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_store(tmp_path)
    project = new_project(before)
    before.close()
    longer = Migrations("homeport")
    for migration in migrations.pending(Database(memory=True)):
        longer(name=migration.name)(migration.fn)

    @longer()
    def add_colour(db: Database) -> None:
        db.execute("ALTER TABLE projects ADD COLUMN colour TEXT")
        db.execute("CREATE TABLE half (id TEXT) STRICT")
        raise ZeroDivisionError

    monkeypatch.setattr(app.store, "migrations", longer)
    with pytest.raises(ZeroDivisionError):
        open_store(tmp_path)
    monkeypatch.undo()
    after = open_store(tmp_path)
    assert after.projects.all() == [project]
    with after.write() as db:
        assert "colour" not in db.table("projects").columns_dict
        assert not db.table("half").exists()
    after.close()
