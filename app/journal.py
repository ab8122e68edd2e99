"""The journal of the path: `stage()` is the one place for status, timing, log, cancel, heartbeat and the wrapping of errors."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adapters import crash
from app.adapters.process import Cancel
from app.errors import Canceled, HomeportError, LostLease, OutOfSpace, StageFailed
from app.logs import LogFile, read, tail
from app.model import Deployment, Desired, Failure
from app.redaction import redactor
from app.settings import Settings
from app.store import Store
from app.text import clean, clean_line

TAIL = 20
"""Lines of the log that a failure carries."""

logger = logging.getLogger("homeport")


class Journal:
    """What is being carried now: its log, its cancel, its stage. One per process."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._lock = threading.Lock()
        self._logs: dict[str, LogFile] = {}
        self._cancels: dict[str, Cancel] = {}
        self._held: dict[str, threading.Lock] = {}
        self.no_cancel = Cancel()
        """For work that nobody can ask to stop: repairs."""

    @contextmanager
    def stage(self, deployment: Deployment, name: str) -> Iterator[None]:
        """Run one stage of a deployment. Raises StageFailed for everything but Canceled and LostLease."""
        self.cancel(deployment).raise_if_set()
        crash.point(f"stage.{name}")
        self._store.deployments.enter(deployment, name)
        self.log(deployment)(f"-----> {name}")
        started = time.monotonic()
        try:
            yield
        except (Canceled, LostLease):
            raise
        except Exception as error:
            raise self._failed(deployment, name, error) from error
        finally:
            self._timed(deployment, name, time.monotonic() - started)

    @contextmanager
    def intend(self, deployment: Deployment, kind: str, name: str) -> Iterator[None]:
        """Say durably what is about to be done, do it, and say that it is done. A failure leaves the row for the clean-up."""
        intent = self._store.intents.begin(deployment, kind, name)
        yield
        self._store.intents.done(intent)

    @contextmanager
    def holding(self, environment_id: str, timeout: float = 0.0) -> Iterator[bool]:
        """Be the only one in this process that changes an environment. Yields False when it stays busy (-1 waits for ever)."""
        with self._lock:
            lock = self._held.setdefault(environment_id, threading.Lock())
        taken = lock.acquire(timeout=timeout) if timeout else lock.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                lock.release()

    def log(self, deployment: Deployment) -> Callable[[str], None]:
        """Where the lines of this deployment go: cleaned, without secrets, on disk at once."""
        with self._lock:
            if deployment.id not in self._logs:
                path = self.log_path(deployment.project_id, deployment.number)
                self._logs[deployment.id] = LogFile(path, redactor(self._secrets(deployment)))
            return self._logs[deployment.id].write

    def said(self, desired: Desired) -> Callable[[str], None]:
        """Where a repair of `desired` says what it does: the server's log."""
        return lambda line: logger.info("%s: %s", desired.name, clean_line(line))

    def quiet(self, line: str) -> None:
        """For what nobody needs to read twice."""

    def warn(self, environment_id: str, text: str) -> None:
        """Something about an environment that the operator should know."""
        logger.warning("%s: %s", environment_id, clean_line(text))

    def cancel(self, deployment: Deployment) -> Cancel:
        """What stops this deployment's processes when it is set."""
        with self._lock:
            return self._cancels.setdefault(deployment.id, Cancel())

    def spread_cancels(self) -> None:
        """Set the Cancel of every running deployment that somebody asked to stop."""
        for deployment_id in self._store.deployments.cancel_asked():
            with self._lock:
                cancel = self._cancels.get(deployment_id)
            if cancel is not None:
                cancel.set()

    def ended(self, deployment: Deployment) -> None:
        """Close what is open for a deployment."""
        with self._lock:
            self._cancels.pop(deployment.id, None)
            log = self._logs.pop(deployment.id, None)
        if log is not None:
            log.close()

    def log_path(self, project_id: str, number: int) -> Path:
        """The file of a deployment's log."""
        return self._settings.root / "logs" / project_id / f"{number}.log"

    def lines(self, deployment: Deployment, start: int) -> list[str]:
        """Lines of a deployment's log from index `start`."""
        return read(self.log_path(deployment.project_id, deployment.number), start)

    def failure(self, deployment: Deployment, error: HomeportError) -> Failure:
        """The diagnosis to store for the error that ended a deployment."""
        stage = self._store.deployments.get(deployment.id).status
        lines = tuple(tail(self.log_path(deployment.project_id, deployment.number), TAIL))
        if isinstance(error, StageFailed):
            return Failure(
                stage=stage,
                code=error.failure_code,
                cause=self._clean(deployment, error.cause),
                hint=self._clean(deployment, error.hint),
                log_tail=tuple(self._clean(deployment, line) for line in error.log_tail) or lines,
                exit_code=error.exit_code,
            )
        cause, hint = self._clean(deployment, error.cause), self._clean(deployment, error.hint)
        return Failure(stage=stage, code=error.code, cause=cause, hint=hint, log_tail=lines)

    def _clean(self, deployment: Deployment, text: str) -> str:
        redact = redactor(self._secrets(deployment))
        return redact(clean(redact(text)))

    def _secrets(self, deployment: Deployment) -> list[str]:
        project = self._store.projects.get(deployment.project_id)
        env = self._store.env.values(deployment.environment_id, deployment.env_version)
        source = self._store.projects.secrets(project)
        _, _, password = source.get("git_credential", "").partition(":")
        return [*env.values(), *source.values(), password]

    def _timed(self, deployment: Deployment, name: str, seconds: float) -> None:
        try:
            self._store.deployments.timed(deployment, name, seconds)
        except HomeportError as error:
            logger.warning("stage %s of %s was not timed: %s", name, deployment.id, error)

    def _failed(self, deployment: Deployment, name: str, error: Exception) -> StageFailed:
        if isinstance(error, StageFailed):
            return error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            error = OutOfSpace(f"the disk is full: {error.filename or name}")
        if isinstance(error, HomeportError):
            code = "disk-full" if isinstance(error, OutOfSpace) else error.code
            return StageFailed(error.cause, failure_code=code, hint=error.hint)
        logger.error("stage %s of %s", name, deployment.id, exc_info=error)
        return StageFailed(
            f"Homeport itself failed in {name}: {type(error).__name__}",
            failure_code="internal",
            hint="The server's log has the details; deploying again is safe.",
        )
