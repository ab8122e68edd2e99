"""The API: `/v1`, JSON, problem+json. Handlers do three things: take what is asked, call one function with the box, answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from litestar import Litestar, Router
from litestar.concurrency import set_asyncio_executor
from litestar.di import Provide

from app.api import openapi
from app.api.deployments import Deployments, upload
from app.api.domains import Domains
from app.api.environments import Environments
from app.api.markers import actor_of
from app.api.problems import HANDLERS
from app.api.projects import Projects
from app.api.system import System

if TYPE_CHECKING:
    from app.appliance import Appliance

BODY_LIMIT = 1 << 20
THREADS = 24
"""Verbs at a time: some wait long (scale, an upload), and one that waits must not hold up `status`."""


def application(box: Appliance) -> Litestar:
    """The ASGI application that answers for `box`."""
    set_asyncio_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="verb"))
    uploads = Router("/", route_handlers=[upload], request_max_body_size=box.settings.upload_limit)
    return Litestar(
        route_handlers=[Router("/v1", route_handlers=[System, Projects, Deployments, Environments, Domains, uploads])],
        dependencies={"box": Provide(lambda: box, sync_to_thread=False), "actor": Provide(actor_of, sync_to_thread=False)},
        exception_handlers=HANDLERS,
        openapi_config=openapi.config("1"),
        request_max_body_size=BODY_LIMIT,
        logging_config=None,
        debug=False,
    )
