"""The API of a box with a real store, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.appliance import Appliance
from tests.serving import new_box, served


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Appliance]:
    made = new_box(tmp_path / "data")
    yield made
    made.store.close()


@pytest.fixture
def api(box: Appliance, data_folder: Path) -> Iterator[httpx.Client]:
    with (
        served(box, data_folder / "api.sock") as socket,
        httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://homeport/v1", timeout=20) as client,
    ):
        yield client
