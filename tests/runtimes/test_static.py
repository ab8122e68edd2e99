"""Sites as a runtime: a folder that is there is what runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from app.adapters.process import Cancel
from app.errors import BadInput, StageFailed
from app.model import Image, Running
from app.runtimes.static import StaticRuntime, site_folder
from app.settings import Settings
from tests.wanted import desired

SITE = desired(image="hp-shop:1", processes=())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path))


def start(settings: Settings) -> Running:
    return StaticRuntime(settings).start(SITE, {}, print, Cancel())


def test_a_site_runs_when_its_folder_is_there(settings: Settings) -> None:
    folder = site_folder(settings, "prj1", "hp-shop:1")
    folder.mkdir(parents=True)
    (folder / "index.html").touch()
    assert start(settings) == Running(deployment_id="dep7", number=7, runtime="static", site=str(folder))


def test_a_site_that_is_gone_or_empty_says_so(settings: Settings) -> None:
    with pytest.raises(StageFailed) as gone:
        start(settings)
    site_folder(settings, "prj1", "hp-shop:1").mkdir(parents=True)
    with pytest.raises(StageFailed) as empty:
        start(settings)
    assert (gone.value.failure_code, empty.value.failure_code) == ("image-not-found", "empty-site")


def test_nothing_runs_so_nothing_can_be_run_in_it(settings: Settings) -> None:
    runtime = StaticRuntime(settings)
    assert (runtime.observe("env1"), runtime.halt(), runtime.strays(())) == ((), 0, ())
    assert "no process" in next(runtime.logs("env1", 5, False, Cancel()))
    with pytest.raises(BadInput):
        runtime.run(SITE, {}, ["sh"], print)


def test_collect_keeps_what_is_asked_and_what_is_being_written(settings: Settings) -> None:
    root = site_folder(settings, "prj1", "x").parent
    old = time.time() - 7200
    for name in ("hp-shop:1", "hp-shop:2", "hp-shop:3.tmp-ab", "hp-shop:4.tmp-cd"):
        (root / name).mkdir(parents=True)
        (root / name / "index.html").write_text("12345")
    os.utime(root / "hp-shop:4.tmp-cd", (old, old))
    assert StaticRuntime(settings).collect("prj1", {"hp-shop:1"}) == 10
    assert sorted(path.name for path in root.iterdir()) == ["hp-shop:1", "hp-shop:3.tmp-ab"]


def test_forget_removes_every_site_of_the_project(settings: Settings) -> None:
    (site_folder(settings, "prj1", "a")).mkdir(parents=True)
    (site_folder(settings, "prj2", "a")).mkdir(parents=True)
    StaticRuntime(settings).forget("prj1", "env1")
    assert [path.name for path in (settings.root / "sites").iterdir()] == ["prj2"]


def test_the_image_of_another_site_is_not_taken(settings: Settings) -> None:
    other = desired(image="hp-shop:2")
    assert StaticRuntime(settings).names(other) == ("hp-shop:2",)
    assert isinstance(other.image, Image)
