"""The image stage, as values: tags, the environment of builds, the text that is built, the secrets it gets."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import msgspec
import pytest

from app.deploy import building
from app.errors import OutOfSpace
from app.model import Choice
from tests.wanted import plan

PLAN = plan(dockerfile="FROM x\n", env_build=("TOKEN",))
TAG = building.image_tag("0badcafe", "shop", "tree1", PLAN, {"TOKEN": "a"}, ["sha256:1"])


def test_a_tag_is_the_same_for_the_same_input() -> None:
    again = building.image_tag("0badcafe", "shop", "tree1", PLAN, {"TOKEN": "a"}, ["sha256:1"])
    assert again == TAG
    name, _, digest = TAG.partition(":")
    assert (name, len(digest), set(digest) <= set("0123456789abcdef")) == ("hp-shop", 16, True)


@pytest.mark.parametrize(
    "other",
    [
        building.image_tag("other-box", "shop", "tree1", PLAN, {"TOKEN": "a"}, ["sha256:1"]),
        building.image_tag("0badcafe", "shop", "tree2", PLAN, {"TOKEN": "a"}, ["sha256:1"]),
        building.image_tag("0badcafe", "shop", "tree1", PLAN, {"TOKEN": "b"}, ["sha256:1"]),
        building.image_tag("0badcafe", "shop", "tree1", PLAN, {"TOKEN": "a"}, ["sha256:2"]),
        building.image_tag("0badcafe", "shop", "tree1", plan(dockerfile="FROM y\n"), {"TOKEN": "a"}, ["sha256:1"]),
        building.image_tag("0badcafe", "shop", "tree1", plan(dockerfile="FROM x\n", args={"A": "1"}), {}, ["sha256:1"]),
    ],
)
def test_everything_that_the_content_depends_on_changes_the_tag(other: str) -> None:
    assert other != TAG


def test_what_only_running_depends_on_does_not_change_the_tag() -> None:
    running = msgspec.structs.replace(
        PLAN, memory=1, cpu=2.0, scale={"web": 2}, choices=(Choice(name="a", value="b", because="c"),), domains=("a.test",)
    )
    assert building.image_tag("0badcafe", "shop", "tree1", running, {"TOKEN": "a"}, ["sha256:1"]) == TAG


def test_the_build_sees_only_the_variables_that_the_plan_names() -> None:
    named = plan(env={"VITE_A": "default", "MODE": "x"}, env_build=("VITE_*", "TOKEN"))
    env = {"VITE_A": "own", "VITE_B": "1", "TOKEN": "t", "DATABASE_URL": "secret"}
    assert building.build_env(named, env) == {"VITE_A": "own", "VITE_B": "1", "TOKEN": "t"}
    assert building.build_env(plan(), env) == {}


def test_cache_mounts_are_the_projects_own() -> None:
    text = building.dockerfile_of(plan(dockerfile="RUN --mount=type=cache,id=@CACHE_ID@-pip,target=/c x\n"), "prj1", {})
    assert text == "RUN --mount=type=cache,id=hp-prj1-pip,target=/c x\n"


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ("--mount=type=secret,id=homeport_env", "--mount=type=secret,target=/run/secrets/homeport_env,id=homeport_env-{}"),
        ("--mount=type=secret,id=TOKEN,required=true", "--mount=type=secret,required=true,target=/run/secrets/TOKEN,id=TOKEN-{}"),
        ("--mount=id=TOKEN,type=secret,dst=/t", "--mount=type=secret,dst=/t,id=TOKEN-{}"),
        ("--mount=type=secret,id=TOKEN,env=T", "--mount=type=secret,env=T,id=TOKEN-{}"),
        ("--mount=type=secret,id=OTHER", "--mount=type=secret,id=OTHER"),
        ("--mount=type=cache,id=TOKEN", "--mount=type=cache,id=TOKEN"),
    ],
)
def test_secret_mounts_change_with_the_secrets(mount: str, expected: str) -> None:
    env = {"TOKEN": "one"}
    stamp = next(key for key in building.secret_ids(env) if key.startswith("TOKEN-")).removeprefix("TOKEN-")
    text = building.dockerfile_of(plan(dockerfile=f"RUN {mount} cat\n"), "p", env)
    assert text == f"RUN {expected.format(stamp)} cat\n"
    again = building.dockerfile_of(plan(dockerfile=f"RUN {mount} cat\n"), "p", {"TOKEN": "two"})
    assert (again == text) is ("{}" not in expected)


def test_secrets_are_lines_for_a_shell_and_each_alone() -> None:
    ids = building.secret_ids({"B": "it's", "A": "two\nlines"})
    assert ids["homeport_env"] == "A='two\nlines'\nB='it'\"'\"'s'\n"
    assert (ids["A"], ids["B"]) == ("two\nlines", "it's")
    assert {key.partition("-")[0] for key in ids} == {"homeport_env", "A", "B"}
    assert len(ids) == 6
    assert not any("it's" in key or "two" in key for key in ids)


def test_there_is_always_an_environment_to_read() -> None:
    assert building.secret_ids({})["homeport_env"] == ""


@pytest.mark.parametrize(
    ("total", "free", "refused"),
    [(1 << 40, 3 << 30, False), (1 << 40, 1 << 30, True), (10 << 30, 2 << 30, False), (10 << 30, 1 << 29, True)],
)
def test_a_disk_that_is_nearly_full_is_refused(
    total: int, free: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(total, total - free, free))
    building.refuse_full_disk([tmp_path / "elsewhere"])
    if not refused:
        building.refuse_full_disk([tmp_path])
        return
    with pytest.raises(OutOfSpace) as caught:
        building.refuse_full_disk([tmp_path])
    assert f"Only {free >> 20} MiB are free" in caught.value.cause
