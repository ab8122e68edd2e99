"""What a box leaves on the engine and among the processes, and how it is taken away."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app.runtimes.containers import data_id
from app.settings import Settings

if TYPE_CHECKING:
    from docker import DockerClient


def data_label(data: Path) -> str:
    """The value of the label `homeport.data` on everything that a box on `data` makes."""
    return data_id(Settings(data=str(data)))


def processes_of(folder: Path) -> Iterator[int]:
    """Every process that names `folder` in its command line."""
    needle = os.fsencode(folder)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if needle in (entry / "cmdline").read_bytes():
                yield int(entry.name)


def remove_from_engine(engine: DockerClient, label: str) -> None:
    """Removes all containers, networks and images that carry `homeport.data=<label>`."""
    from docker.errors import APIError

    filters = {"label": f"homeport.data={label}"}
    for container in engine.containers.list(all=True, filters=filters, ignore_removed=True):
        with contextlib.suppress(APIError):
            container.remove(force=True, v=True)
    for network in engine.networks.list(filters=filters):
        with contextlib.suppress(APIError):
            network.remove()
    for image in engine.images.list(filters=filters):
        with contextlib.suppress(APIError):
            engine.images.remove(image.id, force=True)
