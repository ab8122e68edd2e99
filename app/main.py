"""Composition root: Settings become an Appliance, and the Appliance a running server."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.adapters import crash
from app.appliance import Appliance
from app.errors import Conflict, HomeportError, Unavailable
from app.settings import Settings

if TYPE_CHECKING:
    import uvicorn

GRACE = 3
"""Seconds that open API requests (followed logs) get at the end."""

logger = logging.getLogger("homeport")


def build(settings: Settings, wake: Callable[[], None] = lambda: None) -> Appliance:
    """The appliance over a data folder; every adapter passes the crash wrapper here, and nowhere else."""
    from app.adapters.bases import Bases
    from app.adapters.caddy import Caddy
    from app.adapters.disk import Disk
    from app.adapters.docker import Docker
    from app.adapters.git import Git
    from app.adapters.prober import Prober
    from app.catalog import Catalog
    from app.journal import Journal
    from app.runtimes.docker import DockerRuntime
    from app.runtimes.static import StaticRuntime
    from app.store import Store

    store = Store(settings, owner_login=login())
    docker = crash.guard("docker", Docker(settings))
    disk = crash.guard("disk", Disk())
    return Appliance(
        settings=settings,
        store=store,
        journal=Journal(settings, store),
        catalog=Catalog.load(Path(settings.bundles) if settings.bundles else None),
        runtimes={
            "docker": crash.guard("runtime", DockerRuntime(docker, settings)),
            "static": crash.guard("static", StaticRuntime(settings)),
        },
        docker=docker,
        bases=crash.guard("bases", Bases(docker, settings)),
        git=crash.guard("git", Git(settings)),
        caddy=crash.guard("caddy", Caddy(settings)),
        disk=disk,
        prober=crash.guard("prober", Prober(settings)),
        wake=wake,
    )


def up(settings: Settings, *, keep_running: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, in the foreground. Raises Conflict when another `up` serves this data folder.

    In order: the store, Caddy and the applications as they should be, the queue, the schedule, the API. The end is the reverse;
    with `keep_running` Caddy and the applications go on serving.
    """
    prepare(settings)
    # uvicorn raises the signal that ended it once more: as an exit, so that the reverse order below is walked.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with only_one(settings):
        bell = threading.Event()
        box = build(settings, bell.set)
        try:
            _serve(box, bell)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            if not keep_running:
                halt(box)
            box.store.close()


def halt(box: Appliance) -> None:
    """Caddy first, so that nobody meets half a box; then the applications, for the next `up` to bring back."""
    box.caddy.stop()
    for runtime in box.runtimes.values():
        try:
            runtime.halt()
        except HomeportError as error:
            logger.warning("%s", error.cause)


def _serve(box: Appliance, bell: threading.Event) -> None:
    from app.deploy import routing

    with listening(box.settings.api_socket) as listener, ThreadPoolExecutor(1) as beside:
        edge = beside.submit(routing.sync_edge, box)  # Caddy comes up while the rest is imported
        api = _api(box)

        from app.deploy.queue import Queue
        from app.jobs import scheduler
        from app.reconcile import reconcile

        box.git.sweep()
        queue = Queue(box, bell)
        schedule = scheduler(box, queue)
        edge.result()
        crash.arm()
        queue.start()
        threading.Thread(target=reconcile, args=(box,), name="reconcile-boot", daemon=True).start()
        schedule.start()
        try:
            logger.info("homeportd serves %s on %s", box.settings.data, box.settings.api_socket)
            api.run(sockets=[listener])
        finally:
            schedule.shutdown(wait=False)
            queue.stop()


def _api(box: Appliance) -> uvicorn.Server:
    import uvicorn

    from app.api import application

    config = uvicorn.Config(
        application(box),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
        server_header=False,
    )
    return uvicorn.Server(config)


def prepare(settings: Settings) -> None:
    """Make the folders, private to this user; the group may reach the socket's folder when it is the data folder.

    Raises Unavailable saying which folder cannot be made.
    """
    for folder in (settings.root, settings.sockets):
        try:
            folder.mkdir(mode=0o755 if folder == settings.root else 0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{folder} cannot be made: {error.strerror}", hint="Give another folder with --data.") from error
        if folder.stat().st_uid != os.getuid():
            raise Unavailable(f"{folder} belongs to another user", hint="Run as that user, or give another --data.")
    for name in ("logs", "repos", "work"):
        (settings.root / name).mkdir(mode=0o700, exist_ok=True)


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the data folder: one server each. The lock goes with the process, however it ends."""
    path = settings.root / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise Conflict(
                f"a server (pid {file.read().strip() or 'unknown'}) runs on {settings.data} already",
                hint="`homeportd down` ends it; another --data runs beside it.",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A unix socket at `path`, for its owner and the group `homeport`: mode 0660 from the first moment."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    try:
        shutil.chown(path, group="homeport")
    except (LookupError, PermissionError):
        logger.debug("no group homeport: the socket is its owner's")
    listener.listen(128)
    try:
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def login() -> str:
    """The name of the account that runs the server."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
