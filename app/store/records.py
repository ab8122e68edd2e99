"""Usage, which cannot be made up later, and the answers of requests that carried an Idempotency-Key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlite_utils import Database

from app.errors import BadInput
from app.model import Deployment
from app.store.connection import Connection
from app.store.ids import now

T = TypeVar("T")


class Usage:
    """Metered quantities: `build_seconds`, and `replicas`: intervals whose `quantity` is how many ran (a static site is one)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, db: Database, deployment: Deployment, metric: str, quantity: float) -> None:
        """A quantity that is complete."""
        self._insert(db, deployment, metric, quantity, now())

    def meter(self, deployment: Deployment, replicas: int) -> None:
        """So many replicas of `deployment` run in its environment from now on. No news leaves the open interval as it is."""
        where = {"env": deployment.environment_id, "metric": "replicas"}
        open_ones = self._connection.read(
            "SELECT * FROM usage WHERE environment_id = :env AND metric = :metric AND ended_at IS NULL", where
        )
        if [(row["deployment_id"], row["quantity"]) for row in open_ones] == ([(deployment.id, replicas)] if replicas else []):
            return
        with self._connection.write() as db:
            db.execute(
                "UPDATE usage SET ended_at = :now WHERE environment_id = :env AND metric = :metric AND ended_at IS NULL",
                {**where, "now": now()},
            )
            if replicas:
                self._insert(db, deployment, "replicas", replicas, None)

    def _insert(self, db: Database, deployment: Deployment, metric: str, quantity: float, ended_at: str | None) -> None:
        db.table("usage").insert(
            {
                "organization_id": deployment.organization_id,
                "project_id": deployment.project_id,
                "environment_id": deployment.environment_id,
                "deployment_id": deployment.id,
                "metric": metric,
                "quantity": float(quantity),
                "started_at": now(),
                "ended_at": ended_at,
            }
        )


class Idempotency:
    """Answers by Idempotency-Key: the same key and body get the same answer, made once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def remember(self, key: str, fingerprint: str, prepare: Callable[[], T], make: Callable[[T], bytes]) -> tuple[bytes, bool]:
        """The answer of `key`, and whether it is a replay. `prepare` may take long; `make` and its answer are one commit.

        Raises BadInput when the key was used with another body.
        """
        known = self._known(key, fingerprint)
        if known is not None:
            return known, True
        ready = prepare()
        with self._connection.write() as db:
            known = self._known(key, fingerprint)
            if known is not None:
                return known, True
            answer = make(ready)
            db.table("idempotency").insert({"key": key, "fingerprint": fingerprint, "answer": answer, "created_at": now()})
            return answer, False

    def _known(self, key: str, fingerprint: str) -> bytes | None:
        rows = self._connection.read("SELECT * FROM idempotency WHERE key = :key", {"key": key})
        if rows and rows[0]["fingerprint"] != fingerprint:
            raise BadInput("this Idempotency-Key was used with another request", hint="Use a new key per request.")
        return bytes(rows[0]["answer"]) if rows else None

    def forget(self, before: str) -> None:
        """Drop the keys that were used before that time."""
        with self._connection.write() as db:
            db.execute("DELETE FROM idempotency WHERE created_at < :before", {"before": before})
