"""Deployments: every environment's history, and the queue. A worker's writes carry its fence; a stale one changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

from sqlite_utils import Database

from app.errors import Canceled, Conflict, LostLease, NotFound
from app.model import STAGES, Deployment, Environment, Failure, Image, Plan, Traffic, Trigger
from app.store.connection import Connection
from app.store.events import Events
from app.store.ids import new_id, now
from app.store.records import Usage
from app.store.rows import changes, from_row, to_row

LEASE_SECONDS = 30.0
MAX_ATTEMPTS = 3
_RUNNING = ", ".join(f"'{stage}'" for stage in STAGES)
_BEFORE_SWITCH = ", ".join(f"'{stage}'" for stage in STAGES[: STAGES.index("route")])


class Deployments:
    """Rows of `deployments`."""

    def __init__(self, connection: Connection, events: Events, usage: Usage) -> None:
        self._connection = connection
        self._events = events
        self._usage = usage

    # -- asking for one

    def create(self, environment: Environment, trigger: Trigger, actor: str, **fields: Any) -> Deployment:  # noqa: ANN401
        """The project's next deployment, queued. What was queued before it in the environment is superseded.

        A rollback pauses automatic deploys and asks what is running before its switch to stop.
        """
        with self._connection.write() as db:
            number = self._next_number(db, environment.project_id)
            deployment = Deployment(
                id=new_id("dep"),
                organization_id=environment.organization_id,
                project_id=environment.project_id,
                environment_id=environment.id,
                number=number,
                status="queued",
                trigger=trigger,
                created_at=now(),
                created_by=actor,
                **fields,
            )
            self._supersede(db, deployment)
            db.table("deployments").insert(to_row(deployment))
            self._events.append(db, "deployment.queued", deployment, actor, number=number, trigger=trigger)
        return deployment

    def _next_number(self, db: Database, project_id: str) -> int:
        db.execute("UPDATE projects SET number = number + 1 WHERE id = :id", {"id": project_id})
        return int(next(iter(db.query("SELECT number FROM projects WHERE id = :id", {"id": project_id})))["number"])

    def _supersede(self, db: Database, newer: Deployment) -> None:
        if newer.trigger == "rollback":
            db.execute(
                f"UPDATE deployments SET cancel_by = :by WHERE environment_id = :env AND status IN ({_BEFORE_SWITCH})",
                {"by": f"rollback #{newer.number}", "env": newer.environment_id},
            )
            db.execute(
                "UPDATE projects SET paused_because = :why WHERE id = :id",
                {"why": f"rolled back to #{newer.rollback_to} by {newer.created_by}", "id": newer.project_id},
            )
        # What waits would undo a rollback, so a rollback takes its place too; but nothing takes a rollback's, save another one.
        rows = db.query(
            """SELECT * FROM deployments WHERE environment_id = :env AND status = 'queued'
               AND ("trigger" != 'rollback' OR :rollback)""",
            {"env": newer.environment_id, "rollback": newer.trigger == "rollback"},
        )
        for row in list(rows):
            older = from_row(Deployment, row)
            db.table("deployments").update(older.id, {"status": "superseded", "finished_at": now()})
            self._events.append(db, "deployment.superseded", older, newer.created_by, number=older.number, by=newer.number)

    # -- reading

    def get(self, deployment_id: str) -> Deployment:
        """By id. Raises NotFound, for a deployment whose project was deleted."""
        return self._one("id = :id", {"id": deployment_id}, "no such deployment")

    def numbered(self, project_id: str, number: int) -> Deployment:
        """By its number in the project. Raises NotFound."""
        return self._one(
            "project_id = :project AND number = :number",
            {"project": project_id, "number": number},
            f"no deployment #{number}",
        )

    def page(self, project_id: str, limit: int = 20, before: int | None = None) -> list[Deployment]:
        """Newest first; only numbers below `before` when it is given."""
        return self._many(
            "project_id = :project AND (:before IS NULL OR number < :before) ORDER BY number DESC LIMIT :limit",
            {"project": project_id, "before": before, "limit": limit},
        )

    def once_live(self, environment_id: str, limit: int) -> list[Deployment]:
        """The live one and the retired ones that can come back, newest first."""
        return self._many(
            "environment_id = :env AND status IN ('live', 'retired') AND image IS NOT NULL ORDER BY number DESC LIMIT :limit",
            {"env": environment_id, "limit": limit},
        )

    def active(self, environment_id: str | None = None) -> list[Deployment]:
        """Those that a worker carries now, or did when it died; oldest first."""
        return self._many(
            f"status IN ({_RUNNING}) AND (:env IS NULL OR environment_id = :env) ORDER BY created_at",
            {"env": environment_id},
        )

    def everything(self) -> list[Deployment]:
        """Every deployment of the box, oldest first."""
        return self._many("1 ORDER BY created_at", {})

    def unfinished(self, project_id: str) -> list[Deployment]:
        """A project's deployments that are queued or under way."""
        return self._many(f"project_id = :project AND status IN ('queued', {_RUNNING})", {"project": project_id})

    def waiting(self) -> list[Deployment]:
        """The queue, oldest first."""
        return self._many("status = 'queued' ORDER BY created_at", {})

    def undrained(self) -> list[Deployment]:
        """Live ones whose predecessor has not been ended yet."""
        return self._many("status IN ('live', 'retired') AND drained_at IS NULL ORDER BY created_at", {})

    # -- the queue

    def claim(self, owner: str, held: Collection[str] = ()) -> Deployment | None:
        """Take the next deployment: one at a time per environment, rollbacks first, then by age; or None.

        Left-over ones (released, or with a lease that ran out and not in `held`) are taken again with a new fence, as another
        attempt.
        """
        with self._connection.write() as db:
            rows = db.query(
                f"""SELECT * FROM deployments AS d WHERE
                    (status = 'queued' AND NOT EXISTS (SELECT 1 FROM deployments AS r
                        WHERE r.environment_id = d.environment_id AND r.status IN ({_RUNNING})))
                    OR (status IN ({_RUNNING}) AND lease_until < :now)
                    ORDER BY (status != 'queued') DESC, ("trigger" = 'rollback') DESC, created_at, number""",
                {"now": time.time()},
            )
            row = next((row for row in rows if row["id"] not in held), None)
            if row is None:
                return None
            values: dict[str, Any] = {
                "fence": row["fence"] + 1,
                "owner": owner,
                "lease_until": time.time() + LEASE_SECONDS,
            }
            if row["status"] == "queued":
                values |= {"status": STAGES[0], "started_at": now()}
            else:
                values |= {"attempt": row["attempt"] + 1}
            db.table("deployments").update(row["id"], values)
            return from_row(Deployment, {**row, **values})

    def heartbeat(self, deployment: Deployment) -> bool:
        """Extend the lease; False when it is no longer ours, or the deployment has ended."""
        with self._connection.write() as db:
            cursor = db.execute(
                f"UPDATE deployments SET lease_until = :until WHERE id = :id AND fence = :fence AND status IN ({_RUNNING})",
                {"until": time.time() + LEASE_SECONDS, "id": deployment.id, "fence": deployment.fence},
            )
            return cursor.rowcount == 1

    def release_dead(self, alive: Callable[[str], bool]) -> list[Deployment]:
        """At boot: end the lease of every deployment whose owner is known to be dead. Returns those."""
        released = []
        with self._connection.write() as db:
            for row in list(db.query(f"SELECT * FROM deployments WHERE status IN ({_RUNNING}) AND lease_until > 0")):
                if not alive(row["owner"] or ""):
                    db.table("deployments").update(row["id"], {"lease_until": 0.0})
                    released.append(from_row(Deployment, row))
        return released

    def ask_to_cancel(self, deployment: Deployment, actor: str) -> Deployment:
        """A queued one is canceled at once; a running one is asked to. Raises Conflict when it ended or takes traffic already."""
        with self._connection.write() as db:
            current = self.get(deployment.id)
            if current.ended or current.status in ("route", "health"):
                raise Conflict(
                    f"#{current.number} is {current.status} and cannot be canceled",
                    hint="`homeport rollback` takes a live one back.",
                )
            values: dict[str, Any] = {"cancel_by": actor}
            if current.status == "queued":
                values |= {"status": "canceled", "finished_at": now()}
                self._events.append(db, "deployment.canceled", current, actor, number=current.number)
            db.table("deployments").update(current.id, values)
        return self.get(deployment.id)

    def cancel_asked(self) -> dict[str, str]:
        """Ids of the running deployments that somebody asked to stop, with who."""
        rows = self._connection.read(
            f"SELECT id, cancel_by FROM deployments WHERE cancel_by IS NOT NULL AND status IN ({_RUNNING})"
        )
        return {row["id"]: row["cancel_by"] for row in rows}

    # -- what a worker writes

    def enter(self, deployment: Deployment, stage: str) -> None:
        """The deployment is in `stage` now. Raises LostLease, and Canceled when somebody asked to stop before the switch."""
        with self._connection.write():
            if stage != "health" and (by := self.cancel_asked().get(deployment.id)):
                raise Canceled(f"canceled by {by}")
            self._set(deployment, status=stage)

    def timed(self, deployment: Deployment, stage: str, seconds: float) -> None:
        """Add a stage's time; a resumed stage adds up."""
        with self._connection.write() as db:
            current = self.get(deployment.id).stage_seconds
            self._set(deployment, stage_seconds={**current, stage: round(current.get(stage, 0.0) + seconds, 3)})
            if stage == "image":
                self._usage.add(db, deployment, "build_seconds", seconds)

    def pinned(self, deployment: Deployment, tree: str, message: str) -> None:
        """What the commit holds."""
        self._set(deployment, tree=tree, message=message)

    def planned(self, deployment: Deployment, plan: Plan) -> None:
        """The plan is decided."""
        self._set(deployment, plan=plan)

    def built(self, deployment: Deployment, image: Image) -> None:
        """The image is there."""
        self._set(deployment, image=image)

    def make_live(self, deployment: Deployment) -> Deployment:
        """One commit: this one is live, the environment names it, the one before is retired."""
        with self._connection.write() as db:
            self._set(deployment, status="live", finished_at=now())
            db.execute(
                """UPDATE deployments SET status = 'retired', drained_at = coalesce(drained_at, :now)
                   WHERE environment_id = :env AND status = 'live' AND id != :id""",
                {"env": deployment.environment_id, "id": deployment.id, "now": now()},
            )
            db.execute(
                "UPDATE environments SET live_deployment_id = :id, stopped = 0 WHERE id = :env",
                {"id": deployment.id, "env": deployment.environment_id},
            )
            self._events.append(db, "deployment.live", deployment, deployment.created_by, number=deployment.number)
        return self.get(deployment.id)

    def drained(self, deployment: Deployment, traffic: Traffic | None) -> None:
        """The predecessor has ended; `traffic` is what the prober saw, None when nobody measured."""
        values: dict[str, Any] = {"drained_at": now()}
        if traffic is not None:
            values |= {"dropped": traffic.dropped, "probes": traffic.probes, "longest_wait_ms": traffic.longest_wait_ms}
        self._set(deployment, **values)

    def hand_back(self, deployment: Deployment) -> None:
        """This process stops in good order: the next one resumes the deployment, and it does not count as a crash."""
        with self._connection.write() as db:
            db.execute(
                "UPDATE deployments SET lease_until = 0, attempt = attempt - 1 WHERE id = :id AND fence = :fence",
                {"id": deployment.id, "fence": deployment.fence},
            )

    def end(self, deployment: Deployment, status: str, failure: Failure | None) -> None:
        """`failed` or `canceled`, with the reason. Raises LostLease when another worker has it."""
        with self._connection.write() as db:
            asked_by = self.cancel_asked().get(deployment.id) if status == "canceled" else None
            self._set(deployment, status=status, failure=failure, finished_at=now())
            detail = {"code": failure.code, "stage": failure.stage} if failure else {}
            actor = asked_by or deployment.created_by
            self._events.append(db, f"deployment.{status}", deployment, actor, number=deployment.number, **detail)

    def _set(self, deployment: Deployment, **values: Any) -> None:  # noqa: ANN401
        columns = changes(Deployment, values)
        assignments = ", ".join(f'"{name}" = :{name}' for name in columns)
        with self._connection.write() as db:
            cursor = db.execute(
                f"UPDATE deployments SET {assignments} WHERE id = :_id AND fence = :_fence",
                {**columns, "_id": deployment.id, "_fence": deployment.fence},
            )
            if cursor.rowcount != 1:
                raise LostLease(f"#{deployment.number} belongs to another worker now")

    def _one(self, where: str, parameters: dict[str, Any], otherwise: str) -> Deployment:
        found = self._many(where, parameters)
        if not found:
            raise NotFound(otherwise, hint="`homeport deployments list` shows them.")
        return found[0]

    def _many(self, where: str, parameters: dict[str, Any]) -> list[Deployment]:
        rows = self._connection.read(f"SELECT * FROM deployments WHERE {where}", parameters)
        return [from_row(Deployment, row) for row in rows]
