"""The queue's workers: claim a deployment, carry it down the path, and say how it ended. The table is the truth."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.appliance import Appliance
from app.deploy import deploy, rollback, source
from app.deploy.converge import converge, restore
from app.errors import Canceled, HomeportError, LostLease, StageFailed
from app.model import Deployment, Failure
from app.store.deployments import MAX_ATTEMPTS

WORKERS = 8
"""Deployments carried at once, each in another environment; how many of them build at once is the builder's to limit."""
IDLE_SECONDS = 2.0

logger = logging.getLogger("homeport")


class Queue:
    """Claims and carries until it is stopped."""

    def __init__(self, box: Appliance, wake: threading.Event) -> None:
        self._box = box
        self._owner = owner_id()
        self._wake = wake
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._carried: dict[str, Deployment] = {}
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="deploy")
        self._dispatcher = threading.Thread(target=self._dispatch, name="queue", daemon=True)

    def start(self) -> None:
        """Take over what a dead process left, and begin."""
        for deployment in self._box.store.deployments.release_dead(owner_alive):
            logger.info("deployment %s is resumed after a crash", deployment.id)
        self._dispatcher.start()

    def stop(self) -> None:
        """Claim nothing more, end what builds, and hand back what was not finished: the next start resumes it."""
        self._stopping.set()
        self._wake.set()
        if self._dispatcher.is_alive():
            self._dispatcher.join()
        with self._lock:
            carried = list(self._carried.values())
        for deployment in carried:
            self._box.journal.cancel(deployment).set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def heartbeat(self) -> None:
        """Extend the leases of what is carried; what was lost is told to stop."""
        with self._lock:
            carried = list(self._carried.values())
        for deployment in carried:
            if not self._box.store.deployments.heartbeat(deployment):
                current = self._box.store.deployments.get(deployment.id)
                if not current.ended:
                    self._box.journal.cancel(deployment).set()

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                while not self._stopping.is_set() and self._claim():
                    pass
            except HomeportError as error:
                logger.error("the queue cannot be read: %s", error)
            except Exception:
                logger.exception("the queue cannot be read")
            self._wake.wait(IDLE_SECONDS)

    def _claim(self) -> bool:
        with self._lock:
            if len(self._carried) >= WORKERS:
                return False
            deployment = self._box.store.deployments.claim(self._owner, set(self._carried))
            if deployment is None:
                return False
            self._carried[deployment.id] = deployment
        self._pool.submit(self._carry, deployment)
        return True

    def _carry(self, deployment: Deployment) -> None:
        box = self._box
        try:
            with box.journal.holding(deployment.environment_id, timeout=-1):
                if deployment.fence > 1:  # resumed: what is live may have been stopped with us, and serves first
                    restore(box, deployment.environment_id)
                self._run(deployment)
            # What was asked of the environment meanwhile (scale, restart, stop) is carried out now.
            if not self._stopping.is_set():
                converge(box, box.store.environments.get(deployment.environment_id))
        except Exception:
            logger.exception("deployment %s", deployment.id)
        finally:
            self._let_go(deployment)

    def _let_go(self, deployment: Deployment) -> None:
        try:
            self._box.journal.ended(deployment)
            for folder in source.left_by(self._box, deployment):
                self._box.disk.remove(folder)
        except (HomeportError, OSError):
            logger.exception("deployment %s leaves a work folder", deployment.id)
        finally:
            with self._lock:
                self._carried.pop(deployment.id, None)
            self._wake.set()

    def _run(self, deployment: Deployment) -> None:
        box = self._box
        try:
            refuse_poison(deployment)
            kept = deployment.trigger in ("rollback", "env") and deployment.image is not None
            (rollback if kept else deploy)(box, deployment)
            box.store.intents.settle(deployment.id)  # those of attempts that died are made good by the one that did not
        except LostLease as error:
            logger.warning("%s", error)
        except Canceled as error:
            if self._stopping.is_set() and deployment.id not in box.store.deployments.cancel_asked():
                box.store.deployments.hand_back(deployment)
            else:
                self._end(deployment, "canceled", error)
        except HomeportError as error:
            self._end(deployment, "failed", error)
        except Exception as error:
            logger.exception("deployment %s", deployment.id)
            self._end(deployment, "failed", HomeportError(f"Homeport itself failed: {type(error).__name__}"))

    def _end(self, deployment: Deployment, status: str, error: HomeportError) -> None:
        box = self._box
        current = box.store.deployments.get(deployment.id)
        if current.fence != deployment.fence:
            logger.warning("#%s belongs to another worker now", deployment.number)
            return
        if current.status == "live":
            box.journal.log(deployment)(f"the one before is still ending: {error.cause}")
            return
        failure = box.journal.failure(deployment, error)
        box.prober.stop(deployment.environment_id)
        restore(box, deployment.environment_id)
        for line in told(failure):
            box.journal.log(deployment)(line)
        box.store.deployments.end(deployment, status, failure)
        box.store.intents.settle(deployment.id)


def told(failure: Failure) -> list[str]:
    """How a failure reads at the end of a deployment's log."""
    return [f"-----> {failure.stage} failed: {failure.cause}", f"       next: {failure.hint}"]


def refuse_poison(deployment: Deployment) -> None:
    """Raises StageFailed for a deployment that was under way at too many crashes."""
    if deployment.attempt > MAX_ATTEMPTS:
        raise StageFailed(
            f"the control plane crashed {deployment.attempt} times while it carried this deployment",
            failure_code="poison",
            hint="Look at the server's log before deploying this commit again.",
        )


def owner_id() -> str:
    """`<boot id>:<pid>:<start time in clock ticks>`: names this process for ever (proc(5))."""
    return f"{_boot_id()}:{os.getpid()}:{_start_time(os.getpid())}"


def owner_alive(owner: str) -> bool:
    """Whether the process that `owner` names still runs; this one does not count, since it has only just begun."""
    boot, _, rest = owner.partition(":")
    pid, _, started = rest.partition(":")
    return boot == _boot_id() and pid.isdigit() and int(pid) != os.getpid() and _start_time(int(pid)) == started


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
