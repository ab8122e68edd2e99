"""The Appliance: one frozen bundle of what the box has, passed to every function of the path. And the Runtime Protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.model import Desired, Replica, Running, RuntimeName

if TYPE_CHECKING:
    from app.adapters.bases import Bases
    from app.adapters.caddy import Caddy
    from app.adapters.disk import Disk
    from app.adapters.docker import Docker
    from app.adapters.git import Git
    from app.adapters.prober import Prober
    from app.adapters.process import Cancel
    from app.catalog import Catalog
    from app.journal import Journal
    from app.settings import Settings
    from app.store import Store

Log = Callable[[str], None]
"""Takes one line for a deployment's log; it is cleaned and redacted there."""


class Runtime(Protocol):
    """What runs things. Every method converges: asked twice, it does nothing the second time; names come from `Desired`."""

    def names(self, desired: Desired) -> tuple[str, ...]:
        """The names of the replicas that `desired` wants: what intent rows record before they are made."""

    def start(self, desired: Desired, env: Mapping[str, str], log: Log, cancel: Cancel) -> Running:
        """Make every replica of `desired` exist beside what runs, each web replica healthy when asked directly.

        Raises StageFailed with the diagnosis, after removing what it made, and Canceled.
        """

    def drain(self, environment_id: str, keep: Desired | None, log: Log) -> None:
        """End every replica of the environment that is no part of `keep`, once no request to it is in flight.

        Waits at most the replica's stop_timeout for requests, then asks it to stop, and kills after another stop_timeout.
        """

    def settle(self, desired: Desired) -> None:
        """`desired` is live: let its replicas restart by themselves after a crash or a reboot."""

    def observe(self, environment_id: str | None = None) -> tuple[Replica, ...]:
        """What runs in one environment, whoever wanted it."""

    def logs(self, environment_id: str, tail: int, follow: bool, cancel: Cancel) -> Iterator[str]:
        """The last `tail` lines of the applications' output, merged over replicas; then, if asked, what comes."""

    def run(self, desired: Desired, env: Mapping[str, str], argv: Sequence[str], log: Log) -> int:
        """One command in a new container of the same image and env, removed afterwards. Returns its exit code."""

    def strays(self, environment_ids: Collection[str], *, remove: bool = False) -> tuple[str, ...]:
        """Names of what carries this box's label and belongs to none of these environments; removed when asked."""

    def halt(self) -> int:
        """Stop every replica on this box where it is, for `start` to bring back. Returns how many."""

    def forget(self, project_id: str, environment_id: str) -> None:
        """The project is deleted: remove its images and what else the runtime keeps for the environment."""

    def collect(self, project_id: str, keep: Collection[str]) -> int:
        """Remove the project's images whose tag is not in `keep`. Returns the bytes freed, as far as the engine says."""


@dataclass(frozen=True, slots=True)
class Appliance:
    """The box: made once by `app.main`, never changed."""

    settings: Settings
    store: Store
    journal: Journal
    catalog: Catalog
    runtimes: Mapping[RuntimeName, Runtime]
    docker: Docker
    bases: Bases
    git: Git
    caddy: Caddy
    disk: Disk
    prober: Prober
    wake: Callable[[], None] = lambda: None
    """Tells the queue that there is something to claim."""
