"""Which folder was deployed to which project of which server: what makes `homeport logs` know its project."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class Links:
    """A small file in the user's state folder. It is a convenience: one that cannot be read counts as empty."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        home = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".local/state"
        self._path = Path(home) / "homeport/projects.json"

    def exactly(self, folder: Path, server: str) -> str | None:
        """The project that `folder` itself was deployed to."""
        return self._read().get(str(folder.resolve()), {}).get(server)

    def nearest(self, folder: Path, server: str) -> str | None:
        """The project of `folder` or of the nearest folder above it."""
        links = self._read()
        folder = folder.resolve()
        for place in (folder, *folder.parents):
            if project := links.get(str(place), {}).get(server):
                return project
        return None

    def remember(self, folder: Path, server: str, project: str) -> None:
        """`folder` belongs to `project` from now on."""
        links = self._read()
        key = str(folder.resolve())
        if links.get(key, {}).get(server) != project:
            links.setdefault(key, {})[server] = project
            self._write(links)

    def forget(self, server: str, project: str) -> None:
        """No folder belongs to `project` any more."""
        links = {
            folder: {where: slug for where, slug in known.items() if (where, slug) != (server, project)}
            for folder, known in self._read().items()
        }
        self._write({folder: known for folder, known in links.items() if known})

    def _read(self) -> dict[str, dict[str, str]]:
        import json

        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {str(folder): dict(known) for folder, known in found.items() if isinstance(known, dict)}

    def _write(self, links: dict[str, dict[str, str]]) -> None:
        import json
        import tempfile

        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".projects-")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(links, file, indent=1, sort_keys=True)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
