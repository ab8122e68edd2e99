"""Every noun goes into a row and comes back equal, whatever its text is."""

from __future__ import annotations

import pytest

from app import model
from app.model import (
    Choice,
    Deployment,
    Domain,
    Environment,
    Event,
    Failure,
    HealthCheck,
    Host,
    Image,
    Member,
    Noun,
    Organization,
    Plan,
    Project,
    StaticSite,
    User,
)
from app.store import Store
from app.store.rows import changes, from_row, to_row
from tests.nouns import new_project

ODD = ["", "null", "true", "1", "1.5", "[]", "{}", '"', "'; DROP TABLE projects --", "a\nb\0c", "ü→😀", "\\u0000"]

PLAN = Plan(
    bundle="python",
    language="python",
    framework="flask",
    install="pip install .",
    port=8000,
    choices=(Choice(name="python", value="3.11", because=".python-version"),),
    warnings=("no lock file",),
    dockerfile="FROM python:3.11\n",
    base_images=("python:3.11",),
    args={"A": "1"},
    processes={"web": None, "worker": "python w.py"},
    health=HealthCheck(path="/health", timeout=5, interval=1),
    static=StaticSite(spa=True),
    env={"MODE": "null"},
    env_required=("KEY",),
    env_build=("VITE_*",),
    memory=1 << 29,
    cpu=0.5,
    scale={"web": 2},
    domains=("a.example.com",),
)

FULL: list[Noun] = [
    Organization(id="org_1", slug="home", name="Home", created_at="now"),
    User(id="usr_1", login="ada", created_at="now"),
    Member(organization_id="org_1", user_id="usr_1", role="viewer"),
    Host(id="hst_1", organization_id="org_1", name="local", created_at="now"),
    Project(
        id="prj_1",
        organization_id="org_1",
        slug="web",
        created_at="now",
        git_url="https://example.test/a",
        git_ref="main",
        deploy_key="ssh-ed25519 A",
        paused_because="rolled back to #1",
        number=7,
    ),
    Environment(
        id="env_1",
        organization_id="org_1",
        project_id="prj_1",
        host_id="hst_1",
        slug="production",
        created_at="now",
        live_deployment_id="dep_1",
        env_version=3,
        scale={"web": 2, "worker": 0},
        stopped=True,
        restarts=4,
    ),
    Deployment(
        id="dep_1",
        organization_id="org_1",
        project_id="prj_1",
        environment_id="env_1",
        number=7,
        status="failed",
        trigger="git",
        created_at="now",
        created_by="ada",
        commit="c" * 40,
        tree="d" * 40,
        ref="main",
        message="null",
        dirty=True,
        plan=PLAN,
        image=Image(runtime="static", tag="t", digest="sha256:1", reused=True),
        env_version=3,
        rollback_to=2,
        lose_env=True,
        stage_seconds={"source": 0.25, "image": 12.0},
        started_at="then",
        finished_at="later",
        drained_at="at last",
        dropped=0,
        probes=100,
        longest_wait_ms=12,
        failure=Failure(stage="health", code="wrong-port", cause="c", hint="h", log_tail=("a", "b"), exit_code=137),
        fence=5,
        attempt=2,
    ),
    Domain(
        id="dom_1",
        organization_id="org_1",
        project_id="prj_1",
        environment_id="env_1",
        name="a.example.com",
        tls="acme",
        generated=True,
        created_at="now",
    ),
    Event(
        id=9,
        organization_id="org_1",
        project_id=None,
        actor="ada",
        action="deployment.live",
        target="dep_1",
        detail={"number": 1, "keys": ["A"], "nothing": None, "nested": {"a": 1.5}},
        at="now",
    ),
]
TABLES = {
    Organization: "organizations",
    User: "users",
    Member: "members",
    Host: "hosts",
    Project: "projects",
    Environment: "environments",
    Deployment: "deployments",
    Domain: "domains",
    Event: "events",
}


@pytest.mark.parametrize("noun", [*FULL, PLAN], ids=lambda noun: type(noun).__name__)
def test_a_full_noun_comes_back(noun: Noun) -> None:
    row = to_row(noun)
    assert {type(value) for value in row.values()} <= {str, int, float, type(None)}
    assert from_row(type(noun), row) == noun


def test_defaults_come_back() -> None:
    project = Project(id="p", organization_id="o", slug="s", created_at="now")
    environment = Environment(id="e", organization_id="o", project_id="p", host_id="h", slug="s", created_at="now")
    for noun in (project, environment):
        assert from_row(type(noun), to_row(noun)) == noun


@pytest.mark.parametrize("text", ODD)
def test_any_text_comes_back_from_a_row_and_from_the_file(store: Store, text: str) -> None:
    noun = Deployment(
        id="dep_1",
        organization_id="o",
        project_id="p",
        environment_id="e",
        number=1,
        status="queued",
        trigger="env",
        created_at="now",
        created_by=text,
        message=text,
        failure=Failure(stage="plan", code="c", cause=text, hint=text, log_tail=(text,)),
    )
    assert from_row(Deployment, to_row(noun)) == noun
    project = store.projects.change(new_project(store), "project.changed", "ada", git_ref=text)
    assert project.git_ref == text
    assert store.projects.named("web").git_ref == text


@pytest.mark.parametrize("noun", FULL, ids=lambda noun: type(noun).__name__)
def test_every_noun_has_its_columns_and_comes_back_from_the_file(store: Store, noun: Noun) -> None:
    table = TABLES[type(noun)]
    row = {key: value for key, value in to_row(noun).items() if key not in ("slug", "login", "name", "id")}
    with store.write() as db:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.table(table).insert({**to_row(noun), **({"name": "other"} if isinstance(noun, Host) else {})} | _other(noun))
        keys = ("id",) if hasattr(noun, "id") else tuple(row)
        where = " AND ".join(f'"{key}" = :{key}' for key in keys)
        found = next(iter(db.query(f"SELECT * FROM {table} WHERE {where}", {key: getattr(noun, key) for key in keys})))
        stored = from_row(type(noun), {**found, **{key: getattr(noun, key) for key in _other(noun)}})
        db.execute(f"DELETE FROM {table} WHERE {where}", {key: getattr(noun, key) for key in keys})
    assert stored == noun


def _other(noun: Noun) -> dict[str, str]:
    """Columns that must differ from what every store has from its start."""
    return {Organization: {"slug": "other"}, User: {"login": "other"}, Host: {"name": "other"}}.get(type(noun), {})


def test_every_noun_with_rows_is_in_these_tests() -> None:
    rows = {kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, Noun)}
    assert {kind.__name__ for kind in rows} >= {kind.__name__ for kind in TABLES}
    assert {type(noun) for noun in FULL} == set(TABLES)


def test_changes_encode_as_a_whole_noun_does() -> None:
    noun = FULL[6]
    assert isinstance(noun, Deployment)
    assert changes(Deployment, {"plan": noun.plan, "dirty": True, "failure": None}) == {
        "plan": to_row(noun)["plan"],
        "dirty": 1,
        "failure": None,
    }


def test_columns_of_a_newer_version_are_left_out() -> None:
    user = User(id="u", login="ada", created_at="now")
    assert from_row(User, {**to_row(user), "shoe_size": 43}) == user
