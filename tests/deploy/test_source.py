from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from app.adapters.git import Commit, Git
from app.adapters.process import Cancel
from app.appliance import Appliance
from app.deploy import source
from app.errors import BadInput, Canceled, NotFound, SourceRefused
from app.model import Checkout, Deployment, Project
from app.settings import Settings
from tests.repositories import commit, link_to, repository, tar

PROJECT = Project(id="prj_1", organization_id="org_1", slug="site", created_at="2026-01-01T00:00:00Z")
DEPLOYMENT = Deployment(
    id="dep_1",
    organization_id="org_1",
    project_id="prj_1",
    environment_id="env_1",
    number=1,
    status="source",
    trigger="git",
    created_at="2026-01-01T00:00:00Z",
    created_by="ada",
    ref="main",
)


class Box:
    """As much of an Appliance as the source stage asks of it, with a real Git."""

    def __init__(self, root: Path, project: Project, secrets: dict[str, str]) -> None:
        self.settings = Settings(data=str(root / "data"), local_repositories=(str(root / "allowed"),))
        self.settings.root.mkdir(exist_ok=True)
        self.git = Git(self.settings)
        self.lines: list[str] = []
        self.intents: list[tuple[str, str]] = []
        self.canceled = Cancel()
        projects = SimpleNamespace(get=lambda _: project, secrets=lambda _: secrets)
        self.store = SimpleNamespace(projects=projects)
        self.journal = SimpleNamespace(log=lambda _: self.lines.append, cancel=lambda _: self.canceled, intend=self.intend)

    @contextmanager
    def intend(self, _: Deployment, kind: str, name: str) -> Iterator[None]:
        self.intents.append((kind, name))
        yield


def box_of(root: Path, url: str | None = None, **secrets: str) -> tuple[Box, Appliance, Project]:
    project = msgspec.structs.replace(PROJECT, git_url=url, git_ref="main" if url else None)
    box = Box(root, project, secrets)
    return box, cast(Appliance, box), project


def deployment(**fields: Any) -> Deployment:
    return msgspec.structs.replace(DEPLOYMENT, **fields)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    repository(tmp_path / "allowed" / "site", {"index.html": "one"}, message="Fix typo\n\nLong.")
    return tmp_path / "allowed" / "site"


def test_a_git_deploy_from_pin_to_files(tmp_path: Path, origin: Path) -> None:
    box, appliance, project = box_of(tmp_path, str(origin))
    pinned, ref = source.pin(appliance, project, None)
    later = commit(origin, {"index.html": "two"})
    made = source.check_out(appliance, deployment(commit=pinned, ref=ref))
    path = tmp_path / "data" / "work" / "dep_1"
    tree = box.git.show(source.store_of(appliance, "prj_1"), pinned)[0]
    assert made == Checkout(path=path, commit=pinned, tree=tree, message="Fix typo\n\nLong.")
    assert (path / "index.html").read_text() == "one"
    assert box.lines == [f"fetching {pinned[:7]} from {origin}", f'{pinned[:7]} "Fix typo" by Ada on main']
    assert box.intents == [("work", "dep_1")]
    assert source.pin(appliance, project, None) == (later, "main")


def test_after_a_crash_the_folder_is_made_anew_without_the_network(tmp_path: Path, origin: Path) -> None:
    _, appliance, project = box_of(tmp_path, str(origin))
    pinned, _ = source.pin(appliance, project, "main")
    first = source.check_out(appliance, deployment(commit=pinned))
    (first.path / "half-written").touch()
    (first.path / "index.html").write_text("damaged")
    origin.rename(origin.with_name("gone"))
    assert source.check_out(appliance, deployment(commit=pinned)) == first
    assert [path.name for path in first.path.iterdir()] == ["index.html"]
    assert (first.path / "index.html").read_text() == "one"


def test_an_upload_is_accepted_and_checked_out(tmp_path: Path) -> None:
    box, appliance, project = box_of(tmp_path)
    made, tree = source.accept_upload(appliance, project, tar({"a": "1"}), "Try\x1b[2J it", dirty=True)
    source.require(appliance, project, made)
    checkout = source.check_out(appliance, deployment(trigger="upload", commit=made, dirty=True))
    assert (checkout.tree, checkout.message) == (tree, "Try it")
    assert box.lines == [f'{made[:7]} "Try it" uploaded by ada on main, with uncommitted changes']


def test_what_was_never_uploaded_is_not_deployed(tmp_path: Path) -> None:
    _, appliance, project = box_of(tmp_path)
    for unknown in ("a" * 40, "--all", "HEAD", ""):
        with pytest.raises(NotFound, match="site has no upload"):
            source.require(appliance, project, unknown)
    with pytest.raises(NotFound, match="no commit"):
        source.check_out(appliance, deployment(trigger="upload", commit="a" * 40))


def test_without_a_source_the_words_say_what_to_give(tmp_path: Path) -> None:
    _, appliance, project = box_of(tmp_path)
    with pytest.raises(BadInput, match="no git URL") as raised:
        source.pin(appliance, project, None)
    assert "--git URL" in raised.value.hint
    with pytest.raises(BadInput, match="no git URL"):
        source.check_out(appliance, deployment())


def test_a_link_out_is_refused_and_nothing_is_left(tmp_path: Path, origin: Path) -> None:
    link_to(origin, {"Dockerfile": "/etc/passwd"})
    _, appliance, project = box_of(tmp_path, str(origin))
    pinned, _ = source.pin(appliance, project, "evil")
    with pytest.raises(SourceRefused, match="'Dockerfile'"):
        source.check_out(appliance, deployment(commit=pinned))
    assert list((tmp_path / "data" / "work").iterdir()) == []


def test_a_cancel_stops_the_fetch(tmp_path: Path, origin: Path) -> None:
    box, appliance, project = box_of(tmp_path, str(origin))
    pinned, _ = source.pin(appliance, project, None)
    box.canceled.set()
    with pytest.raises(Canceled):
        source.check_out(appliance, deployment(commit=pinned))


def test_each_transport_gets_its_own_secret(tmp_path: Path) -> None:
    secrets = {"deploy_key": "KEY", "git_credential": "u:p"}
    keys: dict[str, object] = {}
    for url in ("git@h.test:a", "https://h.test/a", str(tmp_path / "allowed")):
        box, appliance, project = box_of(tmp_path, url, **secrets)
        (tmp_path / "allowed").mkdir(exist_ok=True)
        box.git = cast(Git, SimpleNamespace(pin=lambda url, ref, key: (url, key)))
        keys[url] = source.pin(appliance, project, None)[1]
    assert list(keys.values()) == [b"KEY", b"u:p", None]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, '3f2c1aa "Fix typo" by Ada on main'),
        ({"ref": None}, '3f2c1aa "Fix typo" by Ada'),
        ({"ref": "3f2c1aa" + "0" * 33}, '3f2c1aa "Fix typo" by Ada'),
        ({"trigger": "upload"}, '3f2c1aa "Fix typo" uploaded by ada on main'),
        ({"trigger": "upload", "dirty": True}, '3f2c1aa "Fix typo" uploaded by ada on main, with uncommitted changes'),
    ],
)
def test_the_line_for_people(fields: dict[str, Any], line: str) -> None:
    found = Commit(tree="t", author="Ada", message="Fix typo\n\nLong.")
    assert source.said(deployment(commit="3f2c1aa" + "0" * 33, **fields), found) == line
