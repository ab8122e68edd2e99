"""One run of the CLI: what was asked, where answers go, and which server and project it is about."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from app.errors import BadInput, StageFailed
from app.sdk import Client
from tui.links import Links
from tui.output import Output


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a deployment was followed: what there is to say about it has been said."""


class Ended(StageFailed):
    """A followed deployment did not go live, and everything about it has been said."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause, failure_code="ended", hint="")


class Session:
    """Made once per command; the client connects when it is first used."""

    def __init__(self, arguments: argparse.Namespace, out: Output, environ: Mapping[str, str] = os.environ) -> None:
        self.arguments = arguments
        self.out = out
        self.environ = environ
        self.asked_for: str | None = None
        """The project that was named, for a suggestion when there is none of this name."""

    @cached_property
    def client(self) -> Client:
        return Client(getattr(self.arguments, "server", None), environ=self.environ)

    @cached_property
    def links(self) -> Links:
        return Links(self.environ)

    @property
    def server(self) -> str:
        """The address whose projects the links speak of: the one that answers."""
        return self.client.server

    def project(self) -> str:
        """The project that was named, or that this folder was deployed to. Raises BadInput when neither says."""
        named = getattr(self.arguments, "project_option", None) or getattr(self.arguments, "project", None)
        found: str | None = named or self.links.nearest(Path.cwd(), self.server)
        if found is None:
            raise BadInput(
                "Which project? This folder has not been deployed.",
                hint="Name it: `homeport projects list` shows them, --project P (-p) chooses one.",
            )
        self.asked_for = found
        return found


def slug_of(name: str) -> str:
    """A project name made of a folder's: lower case, dashes, at most 54 characters, beginning with a letter."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:54].rstrip("-")
    slug = slug if slug[:1].isalpha() or not slug else f"app-{slug}"[:54].rstrip("-")
    return slug or "app"
