"""Base images: here, pulled, made by the recipe of exactly that name, or not to be had; and which versions stand in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters import bases as module
from app.adapters.bases import LABEL, Bases, HostFile, HostVersion, Recipe
from app.adapters.docker import Docker
from app.adapters.process import Cancel
from app.errors import StageFailed
from app.settings import Settings
from tests.fake_engine import FakeEngine

NO_REGISTRY = (500, {"message": 'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host'})
NOT_THERE = (404, {"message": "manifest for python:9 not found: manifest unknown"})
PULL, ASK = "POST /images/create", "GET /distribution/debian:12-slim/json"


@pytest.fixture
def fake(data_folder: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(data_folder / "engine.sock")
    engine.answers["GET /images/json"] = (200, [])
    yield engine
    engine.close()


@pytest.fixture
def bases(fake: FakeEngine, data_folder: Path) -> Iterator[Bases]:
    settings = Settings(data=str(data_folder), docker_host=fake.host)
    docker = Docker(settings)
    yield Bases(docker, settings)
    docker.close()


def ensure(bases: Bases, reference: str) -> str:
    return bases.ensure(reference, lambda line: None, Cancel())


def test_what_is_here_is_used_and_nobody_is_asked(fake: FakeEngine, bases: Bases) -> None:
    fake.answers["GET /images/python:9/json"] = (200, {"Id": "sha256:1"})
    assert ensure(bases, "python:9") == "sha256:1"
    assert fake.count(PULL) == 0


def test_what_a_registry_has_is_pulled(fake: FakeEngine, bases: Bases) -> None:
    def pulled() -> tuple[int, object]:
        fake.answers["GET /images/python:9/json"] = (200, {"Id": "sha256:2"})
        return 200, {"status": "Pull complete", "id": "abc"}

    fake.answers[PULL] = pulled
    assert ensure(bases, "python:9") == "sha256:2"


def test_without_a_registry_the_verdict_is_remembered(fake: FakeEngine, bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.answers[PULL] = NO_REGISTRY
    for _ in range(3):
        with pytest.raises(StageFailed) as caught:
            ensure(bases, "python:9")
    assert caught.value.failure_code == "image-not-found"
    assert "python:9 cannot be had, no registry could be reached" in caught.value.cause
    assert fake.count(PULL) == 1
    monkeypatch.setattr(module, "VERDICT_SECONDS", 0.0)
    with pytest.raises(StageFailed):
        ensure(bases, "python:9")
    assert fake.count(PULL) == 2


def test_a_registry_that_does_not_have_it_is_asked_again_for_others(fake: FakeEngine, bases: Bases) -> None:
    fake.answers[PULL] = NOT_THERE
    for reference in ("python:9", "python:8"):
        with pytest.raises(StageFailed) as caught:
            ensure(bases, reference)
        assert f"{reference} cannot be had, the registry does not have it" in caught.value.cause
    assert fake.count(PULL) == 2


def test_a_recipe_never_serves_another_version(fake: FakeEngine, bases: Bases) -> None:
    fake.answers[PULL] = NO_REGISTRY
    assert "python:3.11-slim" in [recipe.image for recipe in module.recipes()]
    with pytest.raises(StageFailed):
        ensure(bases, "python:3.12-slim")
    with pytest.raises(StageFailed):
        ensure(bases, "python:3.11")


def test_stand_ins_are_what_was_made_and_offline_also_what_can_be(
    fake: FakeEngine, bases: Bases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "fits", lambda recipe: recipe.image != "node:20-slim")
    fake.answers["GET /images/json"] = (200, [{"RepoTags": ["golang:1.19"]}, {"RepoTags": ["<none>:<none>"]}, {"RepoTags": None}])
    fake.answers[ASK] = (200, {"Descriptor": {}})
    assert bases.stand_ins() == {"golang": ("1.19",)}
    monkeypatch.setattr(module, "VERDICT_SECONDS", 0.0)
    fake.answers[ASK] = NO_REGISTRY
    assert bases.stand_ins() == {"debian": ("12",), "golang": ("1.19",), "python": ("3.11",)}


def test_an_engine_that_is_not_there_has_no_stand_ins(data_folder: Path) -> None:
    settings = Settings(data=str(data_folder), docker_host=f"unix://{data_folder}/none.sock")
    assert Bases(Docker(settings), settings).stand_ins() == {}


def test_the_commands_of_a_root_file_system() -> None:
    recipe = Recipe(
        image="debian:12-slim",
        kind="rootfs",
        suite="bookworm",
        include=("ca-certificates", "tzdata"),
        host_files=(HostFile(source="/etc/ssl/a.crt", target="/etc/ssl/b.crt"),),
        env={"PATH": "/usr/bin"},
        command=("/bin/bash",),
    )
    assert module.rootfs_argv(recipe, Path("/w/rootfs.tar")) == [
        *("mmdebstrap", "--variant=minbase", "--include=ca-certificates,tzdata"),
        *("--customize-hook=upload /etc/ssl/a.crt /etc/ssl/b.crt", "bookworm", "/w/rootfs.tar"),
    ]
    assert module.changes(recipe) == [f"LABEL {LABEL}=debian:12-slim", "ENV PATH=/usr/bin", 'CMD ["/bin/bash"]']


def test_a_recipe_fits_where_the_host_has_that_version(tmp_path: Path) -> None:
    def recipe(name: str, *argv: str, file: Path = tmp_path) -> Recipe:
        version = HostVersion(argv=argv, prefix="v20.")
        return Recipe(image=name, kind="dockerfile", host_version=version, host_files=(HostFile(source=str(file), target="x"),))

    assert module.fits(recipe("a:1", "echo", "v20.11"))
    assert not module.fits(recipe("b:1", "echo", "v22.1"))
    assert not module.fits(recipe("c:1", "no-such-program-anywhere"))
    assert not module.fits(recipe("d:1", "echo", "v20.11", file=tmp_path / "missing"))


def test_every_recipe_names_the_image_that_it_starts_from_and_that_one_has_a_recipe() -> None:
    recipes = module.recipes()
    names = {recipe.image for recipe in recipes}
    assert len(names) == len(recipes)
    for recipe in recipes:
        if recipe.kind == "dockerfile":
            assert set(module.parents((recipe.folder / "Dockerfile").read_text())) <= names


def test_parents_of_a_dockerfile() -> None:
    first = "FROM --platform=linux/amd64 node:20 AS build\nRUN x\nfrom build as second\n"
    text = f"{first}FROM scratch\nCOPY --from=build /a /b\nFROM python:3.11-slim\n"
    assert module.parents(text) == ["node:20", "python:3.11-slim"]
