"""The schedule, as one table. APScheduler only ticks; our tables are the truth."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from app.appliance import Appliance
from app.deploy import source
from app.deploy.queue import Queue
from app.reconcile import reconcile

IDEMPOTENCY_DAYS = 1
KEPT_COMMITS = 20

logger = logging.getLogger("homeport")


def table(box: Appliance, queue: Queue) -> list[tuple[float, Callable[[], Any]]]:
    """Every how many seconds, what."""
    return [
        (1, box.journal.spread_cancels),
        (10, queue.heartbeat),
        (30, lambda: reconcile(box)),
        (3600, lambda: forget_idempotency(box)),
        (3600, lambda: forget_commits(box)),
    ]


def forget_idempotency(box: Appliance) -> None:
    """Idempotency keys are remembered for a day."""
    before = datetime.now(UTC) - timedelta(days=IDEMPOTENCY_DAYS)
    box.store.idempotency.forget(before.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def forget_commits(box: Appliance) -> None:
    """A project's store keeps the commits of its last deployments, and of those under way."""
    for project in box.store.projects.all():
        environment = box.store.environments.of(project)
        deployments = [
            *box.store.deployments.page(project.id, KEPT_COMMITS),
            *box.store.deployments.unfinished(project.id),
            *box.store.deployments.once_live(environment.id, box.settings.keep_deployments + 1),
        ]
        kept = {deployment.commit for deployment in deployments if deployment.commit}
        box.git.tidy(source.store_of(box, project.id), kept)


def scheduler(box: Appliance, queue: Queue) -> Any:  # noqa: ANN401
    """The schedule, not started. A tick that is late runs once; one that is still running is not run beside itself."""
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.background import BackgroundScheduler

    scheduled = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(4)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )
    for seconds, job in table(box, queue):
        scheduled.add_job(safely(job), "interval", seconds=seconds)
    return scheduled


def safely(job: Callable[[], Any]) -> Callable[[], None]:
    """`job`, whose failure is logged and does not end the schedule."""

    def run() -> None:
        try:
            job()
        except Exception:
            logger.exception("a scheduled job failed")

    return run
