"""What callers may send, and the composed answers that are no noun of their own. Same Structs on both sides of the wire."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

import msgspec

from app.model import Deployment, Domain, Environment, EnvVersion, Project, Replica, Tls

T = TypeVar("T")


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what callers send: unknown fields are refused, so that a misspelt one is never silently dropped."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the server answers: an older client leaves out what a newer server adds."""


Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z]([a-z0-9-]{0,52}[a-z0-9])?$", max_length=54)]
Count = Annotated[int, msgspec.Meta(ge=0, le=100)]


class NewProject(Input, frozen=True):
    """`git_url` and `git_ref` are the source of deploys without an upload. `deploy_key` is a private OpenSSH key for it."""

    slug: Slug
    git_url: str | None = None
    git_ref: str | None = None
    deploy_key: str | None = None


class ProjectPatch(Input, frozen=True):
    """UNSET leaves as it is; None clears."""

    git_url: str | msgspec.UnsetType | None = msgspec.UNSET
    git_ref: str | msgspec.UnsetType | None = msgspec.UNSET
    deploy_key: str | msgspec.UnsetType | None = msgspec.UNSET


class Upload(Answer, frozen=True):
    """An accepted working folder: the pinned commit and tree to deploy."""

    commit: str
    tree: str
    files: int = 0
    size: int = 0


class NewDeployment(Input, frozen=True):
    """Either `commit` of an upload, or `git_ref` of the project's git URL (its own ref when both are None).

    `lose_env` says yes to env keys going away.
    """

    commit: str | None = None
    git_ref: str | None = None
    ref: str | None = None
    """The branch that an uploaded folder was on, for people to read."""
    message: str | None = None
    dirty: bool = False
    lose_env: bool = False


class NewRollback(Input, frozen=True):
    """`number` of a former live deployment; None takes the one that was live before the current one."""

    number: int | None = None


class EnvPatch(Input, frozen=True):
    """A change of variables: `set` and `unset`, or with `replace` exactly what `set` holds.

    `build` names keys that the build sees too. Keys that a replace would take away need `lose_env`.
    """

    set: dict[str, str] = {}
    unset: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    replace: bool = False
    lose_env: bool = False
    deploy: bool = True


class EnvChanged(Answer, frozen=True):
    """The new version, and the deployment that carries it live (None with deploy=false, or nothing live yet)."""

    version: EnvVersion
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    deployment: Deployment | None = None


class NewDomain(Input, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=253)]
    tls: Tls | None = None
    """None decides by the name: ACME for public names, the internal CA for local ones."""


class NewScale(Input, frozen=True):
    """Process name to number of replicas."""

    scale: dict[str, Count]


class ProjectStatus(Answer, frozen=True):
    """One project at a glance, from what is observed as well as from the store."""

    project: Project
    environment: Environment
    url: str
    urls: tuple[str, ...]
    state: str
    """live | stopped | degraded | deploying | failed | empty"""
    live: Deployment | None
    latest: Deployment | None
    replicas: tuple[Replica, ...]
    domains: tuple[Domain, ...]
    rollback_numbers: tuple[int, ...]
    """Numbers that `rollback` can bring back, newest first."""


class ProjectLine(Answer, frozen=True):
    """One line of a list of projects."""

    project: Project
    state: str
    url: str
    live_number: int | None
    latest_status: str | None
    latest_at: str | None


class Check(Answer, frozen=True):
    """One finding of `doctor`: what was looked at, whether it is well, and if not why it matters and what mends it."""

    name: str
    ok: bool
    level: str
    """ok | warning | error"""
    finding: str
    why: str = ""
    fix: str = ""


class Health(Answer, frozen=True):
    """GET /v1/health: up and able to write."""

    status: str
    version: str
    pid: int
    data: str
    base_url: str


class Page(Answer, Generic[T], frozen=True):
    """One page of a list; `next_cursor` is None on the last."""

    items: list[T]
    next_cursor: str | None = None
