"""Runs nothing: a site is a folder of files that Caddy serves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from app.adapters.process import Cancel
from app.errors import BadInput, StageFailed
from app.model import Desired, Replica, Running
from app.settings import Settings

Log = Callable[[str], None]

DRAFT_SECONDS = 3600.0
"""How long a half-written site may still be somebody's work."""


def site_folder(settings: Settings, project_id: str, tag: str) -> Path:
    """Where the files of one built site are."""
    return settings.root / "sites" / project_id / tag


class StaticRuntime:
    """The Runtime of sites: what runs is a folder, and the route points at it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def names(self, desired: Desired) -> tuple[str, ...]:
        return (desired.image.tag,)

    def start(self, desired: Desired, env: Mapping[str, str], log: Log, cancel: Cancel) -> Running:
        """The folder is there and holds something. Raises StageFailed `image-not-found` or `empty-site`."""
        folder = site_folder(self._settings, desired.project_id, desired.image.tag)
        if not folder.is_dir():
            raise StageFailed(
                f"The files of {desired.image.tag} are no longer on this machine.",
                failure_code="image-not-found",
                hint="Deploy the commit again; it will be built anew.",
            )
        if next(folder.rglob("*"), None) is None:
            raise StageFailed(
                "The built site has no files.",
                failure_code="empty-site",
                hint="Name the folder that the build writes with `[build] output` in homeport.toml.",
            )
        return Running(deployment_id=desired.deployment_id, number=desired.number, runtime="static", site=str(folder))

    def drain(self, environment_id: str, keep: Desired | None, log: Log) -> None:
        """Files have no requests to wait for: whoever reads one keeps it open."""

    def settle(self, desired: Desired) -> None:
        """Files need no restart."""

    def observe(self, environment_id: str | None = None) -> tuple[Replica, ...]:
        return ()

    def logs(self, environment_id: str, tail: int, follow: bool, cancel: Cancel) -> Iterator[str]:
        return iter(["This is a static site: it has no process, so it prints nothing."])

    def run(self, desired: Desired, env: Mapping[str, str], argv: Sequence[str], log: Log) -> int:
        """Raises BadInput: there is no container to run anything in."""
        raise BadInput(f"{desired.project} is a static site: there is nothing to run a command in.")

    def strays(self, environment_ids: Collection[str], *, remove: bool = False) -> tuple[str, ...]:
        return ()

    def halt(self) -> int:
        return 0

    def forget(self, project_id: str, environment_id: str) -> None:
        shutil.rmtree(self._settings.root / "sites" / project_id, ignore_errors=True)

    def collect(self, project_id: str, keep: Collection[str]) -> int:
        folder = self._settings.root / "sites" / project_id
        doomed = [site for site in folder.iterdir() if not _is_kept(site, keep)] if folder.is_dir() else []
        freed = sum(file.lstat().st_size for site in doomed for file in site.rglob("*") if file.is_file())
        for site in doomed:
            shutil.rmtree(site, ignore_errors=True)
        return freed


def _is_kept(site: Path, keep: Collection[str]) -> bool:
    draft = ".tmp-" in site.name and time.time() - site.stat().st_mtime < DRAFT_SECONDS
    return draft or site.name in keep
