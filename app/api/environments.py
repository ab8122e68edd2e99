"""/v1/projects/{slug}: how its environment runs: env, scale, restart, stop, start, and its applications' output."""

from __future__ import annotations

from collections.abc import AsyncIterator

from litestar import Controller, get, patch, post
from litestar.concurrency import sync_to_thread
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Response, Stream

from app import environments, projects
from app.adapters.process import Cancel
from app.api import streams
from app.api.markers import Actor, Box, NumberCursor, Tail
from app.appliance import Appliance
from app.inputs import EnvChanged, EnvPatch, NewScale
from app.model import Environment, EnvVersion


class Environments(Controller):
    path = "/projects/{slug:str}"
    tags = ["environments"]

    @get("/env", sync_to_thread=True)
    def env(
        self,
        box: Box,
        actor: Actor,
        slug: FromPath[str],
        version: NumberCursor = None,
        reveal: FromQuery[bool] = False,
    ) -> EnvVersion:
        """The variables, masked; with `reveal` their values, which leaves an event."""
        return environments.env(box, slug, version, reveal=reveal, actor=actor)

    @patch("/env", sync_to_thread=True)
    def change_env(self, box: Box, actor: Actor, slug: FromPath[str], data: JSONBody[EnvPatch]) -> EnvChanged:
        """A new version of the variables, and the deployment that takes it live."""
        return environments.change_env(box, slug, data, actor)

    @post("/scale", status_code=200, sync_to_thread=True)
    def scale(self, box: Box, actor: Actor, slug: FromPath[str], data: JSONBody[NewScale]) -> Environment:
        """How many of each process run; answers when they do."""
        return environments.scale(box, slug, data, actor)

    @post("/restart", status_code=200, sync_to_thread=True)
    def restart(self, box: Box, actor: Actor, slug: FromPath[str]) -> Environment:
        """New copies of what is live take over from the old ones; answers when they have."""
        return environments.restart(box, slug, actor)

    @post("/stop", status_code=200, sync_to_thread=True)
    def stop(self, box: Box, actor: Actor, slug: FromPath[str]) -> Environment:
        """Stop serving; everything needed to start again is kept."""
        return environments.stop(box, slug, actor)

    @post("/start", status_code=200, sync_to_thread=True)
    def start(self, box: Box, actor: Actor, slug: FromPath[str]) -> Environment:
        """Serve again what was live when it was stopped."""
        return environments.start(box, slug, actor)

    @get("/logs")
    async def logs(
        self, box: Box, slug: FromPath[str], tail: Tail = 100, follow: FromQuery[bool] = False
    ) -> Stream | Response[str]:
        """The last `tail` lines of its applications as text; with `follow`, a stream of them that goes on."""
        await sync_to_thread(projects.show, box, slug)
        if follow:
            return streams.events(_output(box, slug, tail))
        lines = await sync_to_thread(lambda: list(environments.logs(box, slug, tail, False, Cancel())))
        return Response("".join(f"{line}\n" for line in lines), media_type="text/plain")


async def _output(box: Appliance, slug: str, tail: int) -> AsyncIterator[bytes]:
    cancel = Cancel()
    async for line in streams.threaded(lambda: environments.logs(box, slug, tail, True, cancel), cancel.set):
        yield streams.PING if line is None else streams.message("log", line)
    yield streams.END
