"""/v1/projects/{slug}/deployments: one attempt each, followed live, canceled, rolled back to. And the uploads they start from."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec
from litestar import Controller, get, post
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Response, Stream

from app import deployments
from app.api import streams
from app.api.markers import Actor, AnyRequest, Box, IdempotencyKey, LastEventId, Limit, NumberCursor
from app.api.pages import cut
from app.appliance import Appliance
from app.errors import BadInput
from app.inputs import NewDeployment, NewRollback, Page, Upload
from app.model import Deployment

BUFFER = 1 << 20
T = TypeVar("T")


class Deployments(Controller):
    path = "/projects/{slug:str}"
    tags = ["deployments"]

    @get("/deployments", sync_to_thread=True)
    def index(self, box: Box, slug: FromPath[str], limit: Limit = 20, cursor: NumberCursor = None) -> Page[Deployment]:
        """The newest first."""
        return cut(deployments.index(box, slug, limit + 1, cursor), limit, lambda deployment: str(deployment.number))

    @post("/deployments", status_code=202, sync_to_thread=True)
    def create(
        self,
        box: Box,
        actor: Actor,
        slug: FromPath[str],
        data: JSONBody[NewDeployment],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Deployment]:
        """Queue a deployment. With an Idempotency-Key, asking again gives the first answer instead of a second one."""
        request = Once(box, idempotency_key, f"{actor} {slug} deploy", data)
        return request.answer(partial(deployments.pin, box, slug, data), partial(deployments.create, box, slug, data, actor))

    @get("/deployments/{number:int}", sync_to_thread=True)
    def show(self, box: Box, slug: FromPath[str], number: FromPath[int]) -> Deployment:
        """One deployment."""
        return deployments.show(box, slug, number)

    @post("/deployments/{number:int}/cancel", status_code=200, sync_to_thread=True)
    def cancel(self, box: Box, actor: Actor, slug: FromPath[str], number: FromPath[int]) -> Deployment:
        """Stop a deployment that is not live yet; what serves goes on serving."""
        return deployments.cancel(box, slug, number, actor)

    @get("/deployments/{number:int}/follow", sync_to_thread=True)
    def follow(self, box: Box, slug: FromPath[str], number: FromPath[int], last_event_id: LastEventId = None) -> Stream:
        """Its log lines (`log`, numbered) and itself whenever it changed (`deployment`), until it ended and has drained."""
        deployments.show(box, slug, number)
        start = 0 if last_event_id is None else last_event_id + 1
        return streams.events(streams.polled(_progress(box, slug, number, start)))

    @get("/deployments/{number:int}/log", sync_to_thread=True)
    def log(self, box: Box, slug: FromPath[str], number: FromPath[int]) -> Stream:
        """Its whole log as text."""
        deployments.show(box, slug, number)
        return Stream(_text(box, slug, number), media_type="text/plain")

    @post("/rollback", status_code=202, sync_to_thread=True)
    def rollback(
        self,
        box: Box,
        actor: Actor,
        slug: FromPath[str],
        data: JSONBody[NewRollback],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[Deployment]:
        """Bring back the image, settings and env of an earlier deployment, as a new one."""
        request = Once(box, idempotency_key, f"{actor} {slug} rollback", data)
        return request.answer(lambda: None, lambda _: deployments.rollback(box, slug, data, actor))


@post("/projects/{slug:str}/uploads", tags=["deployments"])
async def upload(
    request: AnyRequest,
    box: Box,
    slug: FromPath[str],
    message: FromQuery[str | None] = None,
    dirty: FromQuery[bool] = False,
) -> Upload:
    """Take a working folder as a tar archive (application/x-tar, gzip or not) and pin it as a commit to deploy."""
    if request.content_type[0] != "application/x-tar":
        raise BadInput("The body must be a tar archive.", hint="Send it with Content-Type: application/x-tar.")
    body = io.BufferedReader(streams.Body(request.stream(), asyncio.get_running_loop()), BUFFER)
    return await sync_to_thread(deployments.upload, box, slug, body, message or "", dirty)


@dataclass(frozen=True)
class Once:
    """A request that, asked again with the same Idempotency-Key, gets its first answer."""

    box: Appliance
    key: str | None
    what: str
    data: msgspec.Struct

    def answer(self, prepare: Callable[[], T], make: Callable[[T], Deployment]) -> Response[Deployment]:
        """What `make` makes of what `prepare` found out, or the answer of the first time."""
        if self.key is None:
            return Response(make(prepare()))
        fingerprint = hashlib.sha256(self.what.encode() + b"\0" + msgspec.json.encode(self.data)).hexdigest()
        answer, replayed = self.box.store.idempotency.remember(
            self.key, fingerprint, prepare, lambda ready: msgspec.json.encode(make(ready))
        )
        headers = {"idempotent-replayed": "true"} if replayed else {}
        return Response(msgspec.json.decode(answer, type=Deployment), headers=headers)


def _progress(box: Appliance, slug: str, number: int, start: int) -> Callable[[], tuple[list[bytes], bool]]:
    seen: Deployment | None = None
    held = start

    def look() -> tuple[list[bytes], bool]:
        """The deployment is read before its log: once it has ended, what the log then holds is all of it."""
        nonlocal seen, held
        deployment = deployments.show(box, slug, number)
        lines, following, _ = deployments.log(box, slug, number, held)
        found = [streams.message("log", line, held + index) for index, line in enumerate(lines)]
        held = following
        if deployment != seen and not (deployment.ended and lines):
            seen = deployment
            found.append(streams.message("deployment", deployment))
        return found, deployments.over(deployment) and not lines

    return look


def _text(box: Appliance, slug: str, number: int) -> Iterator[str]:
    start = 0
    while True:
        lines, start, _ = deployments.log(box, slug, number, start)
        if not lines:
            return
        yield "".join(f"{line}\n" for line in lines)
