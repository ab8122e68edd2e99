"""Whether the box is up, whether it is well, and what happened on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import metadata

from litestar import Controller, get
from litestar.params import FromQuery
from litestar.response import Response, Stream

from app import doctor, projects
from app.adapters import edge
from app.api import streams
from app.api.markers import Box, LastEventId, Limit, NumberCursor
from app.api.pages import cut
from app.appliance import Appliance
from app.inputs import Check, Health, Page
from app.model import Event


class System(Controller):
    tags = ["system"]

    @get("/health", sync_to_thread=True)
    def health(self, box: Box) -> Health:
        """Whether the control plane is up and able to write."""
        with box.store.write():
            return Health(status="ok", version=_version(), pid=os.getpid(), data=box.settings.data, base_url=_base_url(box))

    @get("/doctor", sync_to_thread=True)
    def doctor(self, box: Box, invariants: FromQuery[bool] = False) -> list[Check]:
        """What is not as it should be on this box, why it matters and what mends it."""
        return doctor.check(box, only_invariants=invariants)

    @get("/events", sync_to_thread=True)
    def events(
        self,
        box: Box,
        project: FromQuery[str | None] = None,
        cursor: NumberCursor = None,
        limit: Limit = 100,
        follow: FromQuery[bool] = False,
        last_event_id: LastEventId = None,
    ) -> Response[Page[Event]] | Stream:
        """What happened, oldest first, after the event `cursor`; with `follow`, a stream that goes on with what comes."""
        project_id = projects.show(box, project).id if project else None
        if follow:
            return streams.events(streams.polled(_news(box, project_id, last_event_id or cursor or 0)))
        found = box.store.events.after(cursor or 0, project_id, limit + 1)
        return Response(cut(found, limit, lambda event: str(event.id)))


def _version() -> str:
    try:
        return metadata.version("homeport")
    except metadata.PackageNotFoundError:
        return "unknown"


def _base_url(box: Appliance) -> str:
    base = box.settings.base_domain or "localhost"
    return edge.url_of(base, edge.tls_of(base, box.settings), box.settings)


def _news(box: Appliance, project_id: str | None, last: int) -> Callable[[], tuple[list[bytes], bool]]:
    def look() -> tuple[list[bytes], bool]:
        nonlocal last
        found = box.store.events.after(last, project_id, 500)
        last = found[-1].id if found else last
        return [streams.message("event", event, event.id) for event in found], False

    return look
