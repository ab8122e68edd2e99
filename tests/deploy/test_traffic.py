from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from app.adapters.disk import Disk
from app.appliance import Appliance
from app.deploy import traffic
from app.model import Desired, Plan, Running, StaticSite, Switch
from app.settings import Settings
from tests.wanted import desired

ENV = "env_1"
PLAN = Plan(bundle="flask", language="python")


@pytest.fixture
def box(tmp_path: Path) -> Appliance:
    return cast(Appliance, SimpleNamespace(settings=Settings(data=str(tmp_path)), disk=Disk()))


def running(number: int, *addresses: str) -> Running:
    return Running(deployment_id=f"dep_{number}", number=number, runtime="docker", addresses=addresses)


def live(number: int) -> Desired:
    return desired(environment_id=ENV, number=number)


def turn(box: Appliance, number: int, address: str) -> bool:
    files, links = traffic.route_files(running(number, address), PLAN)
    traffic.remember(box, ENV, number)
    return traffic.turn(box, ENV, traffic.route_name(number, files, links), files, links)


def names(box: Appliance) -> list[str]:
    """What is in the environment's folder, the hashes left out."""
    folder = box.settings.root / "routes" / ENV
    return sorted(re.sub(r"-[0-9a-f]{8}$", "", path.name) for path in folder.iterdir())


def links(box: Appliance) -> dict[str, str]:
    folder = box.settings.root / "routes" / ENV
    return {link.name: os.readlink(link).partition("-")[0] for link in folder.iterdir() if link.is_symlink()}


def content(box: Appliance) -> str:
    return (box.settings.root / "routes" / ENV / "current" / "route").read_text().split("\t")[-1]


def test_route_files() -> None:
    docker, no_links = traffic.route_files(running(1, "10.0.0.1:80"), PLAN)
    assert docker == {"route": "docker" + "\t10.0.0.1:80" * 12}
    assert no_links == {}
    site = Running(deployment_id="d", number=1, runtime="static", site="/d/sites/p/t")
    spa = Plan(bundle="vite", language="javascript", static=StaticSite(spa=True))
    assert traffic.route_files(site, spa) == ({"route": "static\t/d/sites/p/t\t.html\t/index.html\t/404.html"}, {})
    assert traffic.route_files(running(1), PLAN) == ({"route": "idle"}, {})


def test_the_name_says_number_and_content() -> None:
    assert traffic.route_name(12, {"route": "stopped"}, {}) == "12-4ac1f9c7"
    assert traffic.route_name(12, {"route": "idle"}, {}) != traffic.route_name(12, {"route": "stopped"}, {})


def test_turning_leaves_current_and_previous_and_nothing_older(box: Appliance) -> None:
    assert traffic.serving(box, ENV) is None
    assert turn(box, 1, "a:1")
    assert (traffic.serving(box, ENV), links(box)) == (1, {"current": "1"})
    assert turn(box, 2, "b:1")
    assert turn(box, 3, "c:1")
    assert (traffic.serving(box, ENV), content(box)) == (3, "c:1")
    assert links(box) == {"current": "3", "previous": "2"}
    assert turn(box, 4, "d:1")
    # The third, that was replaced just now, is kept for the requests on their way through it.
    assert names(box) == ["3", "4", "current", "previous"]


def test_turning_again_does_nothing(box: Appliance) -> None:
    turn(box, 1, "a:1")
    turn(box, 2, "b:1")
    assert turn(box, 2, "b:1") is False
    assert links(box) == {"current": "2", "previous": "1"}


def test_what_was_turned_before_a_crash_is_no_place_to_turn_back_to(box: Appliance) -> None:
    turn(box, 1, "a:1")
    turn(box, 2, "dead:1")
    assert turn(box, 2, "b:1")
    traffic.turn_back(box, Switch(environment_id=ENV, number=2, previous=1))
    assert (traffic.serving(box, ENV), content(box)) == (1, "a:1")


def test_turning_back(box: Appliance) -> None:
    turn(box, 1, "a:1")
    turn(box, 2, "b:1")
    switch = Switch(environment_id=ENV, number=2, previous=1)
    for _ in range(2):
        traffic.turn_back(box, switch)
        assert (traffic.serving(box, ENV), content(box)) == (1, "a:1")


def test_turning_back_the_first_one_leaves_nothing_serving(box: Appliance) -> None:
    turn(box, 1, "a:1")
    traffic.turn_back(box, Switch(environment_id=ENV, number=1, previous=None))
    assert traffic.serving(box, ENV) is None
    assert links(box) == {}
    turn(box, 2, "b:1")
    assert links(box) == {"current": "2"}


def test_turning_back_leaves_somebody_elses_switch_alone(box: Appliance) -> None:
    turn(box, 1, "a:1")
    turn(box, 2, "b:1")
    turn(box, 3, "c:1")
    traffic.turn_back(box, Switch(environment_id=ENV, number=2, previous=1))
    assert traffic.serving(box, ENV) == 3


def test_stop_and_point(box: Appliance) -> None:
    assert traffic.point(box, live(3), running(3, "a:1"))
    assert traffic.point(box, live(3), running(3, "a:1")) is False
    assert traffic.stop(box, live(3))
    assert traffic.stop(box, live(3)) is False
    assert (traffic.serving(box, ENV), traffic.kind(box, ENV)) == (None, "stopped")
    assert traffic.point(box, live(3), running(3, "b:1"))
    assert (traffic.serving(box, ENV), content(box)) == (3, "b:1")


def test_new_addresses_of_the_live_one_are_no_place_to_turn_back_to(box: Appliance) -> None:
    turn(box, 1, "a:1")
    traffic.point(box, live(1), running(1, "b:1"))
    assert links(box) == {"current": "1"}


def test_no_web_process_still_says_which_one_serves(box: Appliance) -> None:
    traffic.point(box, live(3), running(3))
    assert (traffic.serving(box, ENV), traffic.kind(box, ENV)) == (3, "idle")


def test_clear(box: Appliance) -> None:
    traffic.clear(box, ENV)
    turn(box, 1, "a:1")
    turn(box, 2, "b:1")
    traffic.clear(box, ENV)
    assert traffic.serving(box, ENV) is None
    assert names(box) == []


def test_what_a_crash_left_is_cleaned_at_the_next_turn(box: Appliance) -> None:
    turn(box, 1, "a:1")
    folder = box.settings.root / "routes" / ENV
    (folder / "2-aaaaaaaa.tmp-0123456789ab").mkdir()
    (folder / "current.tmp-0123456789ab").symlink_to("2-aaaaaaaa")
    turn(box, 2, "b:1")
    assert names(box) == ["1", "2", "current", "previous"]


def test_a_route_whose_folder_is_gone_is_made_anew(box: Appliance) -> None:
    turn(box, 1, "a:1")
    folder = box.settings.root / "routes" / ENV
    box.disk.remove(folder / os.readlink(folder / "current"))
    assert traffic.serving(box, ENV) is None
    assert turn(box, 1, "a:1")
    assert traffic.serving(box, ENV) == 1
