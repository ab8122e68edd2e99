"""`dropped` can fail: an application that leaves at once, with answers under way, loses requests, and the deploy says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.box import Box
from tests.load_process import LoadProcess
from tests.repository import Repository

pytestmark = pytest.mark.e2e


def test_an_application_that_does_not_drain(homeportd: Callable[..., Box], repository: Callable[..., Repository]) -> None:
    box = homeportd()
    source = repository("path-undrained")
    first = box.deploy(source.path, "undrained")
    assert first.exit_code == 0, first.stderr + box.output()
    # The new one is quick, so that the old one is asked to stop while it still has requests from before the switch.
    source.edit("app.py", "SECONDS = 3", "SECONDS = 0")
    source.edit("app.py", "version 1", "version 2")

    with LoadProcess(str(first.last["url"]), 50, seen=r"version (\d+)") as load:
        second = box.deploy(source.path, "undrained")

    print(second.last, load.report)
    assert second.exit_code == 0, second.stderr + box.output()
    assert second.last["dropped"] > 0
    assert load.report["failed"] > 0, load.report
    assert second.last["status"] == "live", "it is said, and it is no reason to turn back"
