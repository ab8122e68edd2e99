"""The nouns of Homeport: frozen Structs that the database, the API, the SDK, the CLI and the TUI share.

Times are RFC 3339 strings in UTC, durations are seconds, sizes are bytes, unless a name says otherwise.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import msgspec

Stage = Literal["source", "plan", "image", "rollout", "route", "health"]
Status = Literal[
    "queued",
    "source",
    "plan",
    "image",
    "rollout",
    "route",
    "health",
    "live",
    "retired",
    "failed",
    "canceled",
    "superseded",
]
Trigger = Literal["git", "upload", "rollback", "env"]
RuntimeName = Literal["static", "docker"]
Tls = Literal["acme", "internal", "off"]

STAGES: tuple[Stage, ...] = ("source", "plan", "image", "rollout", "route", "health")
TERMINAL: tuple[Status, ...] = ("live", "retired", "failed", "canceled", "superseded")

SLUG = re.compile(r"[a-z](?:[a-z0-9-]{0,52}[a-z0-9])?")
ENV_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
HOST_NAME = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Noun(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every noun: immutable, built by keyword, compared by value."""


class Organization(Noun, frozen=True):
    """Owns projects and, later, is billed."""

    id: str
    slug: str
    name: str
    created_at: str


class User(Noun, frozen=True):
    """A person. `login` is the name of the operating system account until the issue on identity."""

    id: str
    login: str
    created_at: str


class Member(Noun, frozen=True):
    """A person's role in an organization."""

    organization_id: str
    user_id: str
    role: Literal["owner", "admin", "developer", "viewer"]


class Host(Noun, frozen=True):
    """A machine that runs environments; `local` is this one."""

    id: str
    organization_id: str
    name: str
    created_at: str


class Project(Noun, frozen=True):
    """One application: where its source comes from, and whether new commits deploy by themselves.

    `paused_because` is set by a rollback and cleared by `resume`; while it is set, automatic deploys wait.
    `number` is the number of its newest deployment, 0 before the first.
    """

    id: str
    organization_id: str
    slug: str
    created_at: str
    git_url: str | None = None
    git_ref: str | None = None
    deploy_key: str | None = None
    """The public half of the key that reads the git URL over ssh, in OpenSSH's format."""
    paused_because: str | None = None
    number: int = 0


class Environment(Noun, frozen=True):
    """`production` (or, later, `preview/<branch>`): its own env, domains, scale. `live_deployment_id` alone says what serves."""

    id: str
    organization_id: str
    project_id: str
    host_id: str
    slug: str
    created_at: str
    live_deployment_id: str | None = None
    env_version: int = 0
    scale: dict[str, int] = {}
    stopped: bool = False
    restarts: int = 0
    """How often `restart` was asked; a part of Desired, so that reconcile knows the newest was carried out."""


class Choice(Noun, frozen=True):
    """One decision of the plan and where it came from, e.g. `Choice(name="python", value="3.11", because=".python-version")`."""

    name: str
    value: str
    because: str


class HealthCheck(Noun, frozen=True):
    """How to ask an application whether it is well. No `path`: GET / below 500 will do; with one, it must answer 200 to 399."""

    path: str | None = None
    timeout: float = 60.0
    """Seconds until the candidate must have answered well twice in a row."""
    interval: float = 0.5


class StaticSite(Noun, frozen=True):
    """How files are served: `spa` answers unknown paths with /index.html, `clean_urls` finds /about in about.html."""

    spa: bool = False
    clean_urls: bool = True
    not_found: str = "404.html"


class Checkout(Noun, frozen=True):
    """The files of one commit, in a folder on this machine that only one deployment uses."""

    path: Path
    commit: str
    tree: str
    message: str


class Plan(Noun, frozen=True):
    """Everything decided about how to build and run one commit. A value: stored with the deployment, shown, compared.

    `dockerfile` is the text to build (rendered from the bundle, or the repository's own); `None` for files served as they are.
    `output` is the folder of built files: relative to the checkout without a Dockerfile, absolute in the image with one.
    """

    bundle: str
    language: str
    framework: str | None = None
    runtime: RuntimeName = "docker"
    install: str | None = None
    build: str | None = None
    start: str | None = None
    port: int | None = None
    output: str | None = None
    choices: tuple[Choice, ...] = ()
    warnings: tuple[str, ...] = ()
    dockerfile: str | None = None
    base_images: tuple[str, ...] = ()
    root: str = "."
    context: str = "."
    args: dict[str, str] = {}
    processes: dict[str, str | None] = msgspec.field(default_factory=lambda: {"web": None})
    """Process name to command line (run by `sh -c` inside the container); `None` is the image's own command."""
    release: str | None = None
    health: HealthCheck = HealthCheck()
    static: StaticSite = StaticSite()
    env: dict[str, str] = {}
    """Plain defaults of homeport.toml's [env] and of the bundle; the environment's own variables win."""
    env_required: tuple[str, ...] = ()
    env_build: tuple[str, ...] = ()
    """Keys, or prefixes that end in `*`, that the build needs: a change of their values builds anew."""
    build_memory: int | None = None
    build_timeout: float = 1800.0
    stop_timeout: float = 30.0
    memory: int | None = None
    cpu: float | None = None
    scale: dict[str, int] = {}
    domains: tuple[str, ...] = ()


class Image(Noun, frozen=True):
    """What a build leaves: a tagged image of the engine (`docker`), or a folder of files (`static`). `tag` names its content."""

    runtime: RuntimeName
    tag: str
    digest: str
    """The engine's image id (sha256:…), or the digest of the folder's files."""
    reused: bool = False


class Failure(Noun, frozen=True):
    """Why a deployment ended badly: the stage, a stable code, the cause in words, the evidence, what to do next."""

    stage: str
    code: str
    cause: str
    hint: str
    log_tail: tuple[str, ...] = ()
    exit_code: int | None = None


class Deployment(Noun, frozen=True):
    """One attempt to take one commit live in one environment. Immutable once built."""

    id: str
    organization_id: str
    project_id: str
    environment_id: str
    number: int
    status: Status
    trigger: Trigger
    created_at: str
    created_by: str
    commit: str | None = None
    """The pinned commit (40 hex). Uploads get one too: their tree, committed to the project's own store."""
    tree: str | None = None
    ref: str | None = None
    message: str | None = None
    dirty: bool = False
    """An upload of a working folder with uncommitted changes."""
    plan: Plan | None = None
    image: Image | None = None
    env_version: int = 0
    rollback_to: int | None = None
    """The number whose image, settings and env this deployment brings back."""
    lose_env: bool = False
    """The person said yes to env keys going away."""
    stage_seconds: dict[str, float] = {}
    started_at: str | None = None
    finished_at: str | None = None
    drained_at: str | None = None
    """When the replaced deployment had ended and `dropped` became final."""
    dropped: int | None = None
    probes: int | None = None
    longest_wait_ms: int | None = None
    failure: Failure | None = None
    fence: int = 0
    attempt: int = 0

    @property
    def ended(self) -> bool:
        """Whether the status can no longer change by the path itself."""
        return self.status in TERMINAL


class Domain(Noun, frozen=True):
    """A host name of an environment. `generated` ones are ours (`<project>.localhost`, sslip.io) and cannot be removed."""

    id: str
    organization_id: str
    project_id: str
    environment_id: str
    name: str
    tls: Tls
    generated: bool
    created_at: str


class EnvVar(Noun, frozen=True):
    """One environment variable. `value` is None wherever it is masked; `build` says that the build sees it too."""

    key: str
    value: str | None = None
    build: bool = False


class EnvVersion(Noun, frozen=True):
    """An immutable set of variables of an environment; deployments name the version they run with."""

    number: int
    created_at: str
    created_by: str
    variables: tuple[EnvVar, ...] = ()


class Event(Noun, frozen=True):
    """Something that happened: who, what, to what, when. The audit log and the live stream are this."""

    id: int
    organization_id: str
    project_id: str | None
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    at: str


class Process(Noun, frozen=True):
    """One process type of what should run."""

    name: str
    command: str | None
    replicas: int


class Desired(Noun, frozen=True):
    """What should run in an environment. Reconcile, diff, export and eject all read this one value."""

    organization_id: str
    project_id: str
    project: str
    environment_id: str
    environment: str
    host_id: str
    deployment_id: str
    number: int
    image: Image
    env_version: int
    plan: Plan
    processes: tuple[Process, ...]
    domains: tuple[str, ...]
    stopped: bool
    restarts: int

    @property
    def name(self) -> str:
        """`<project>-<environment>`, the stem of every name given to the engine."""
        return f"{self.project}-{self.environment}"

    @property
    def replicas(self) -> int:
        """How many copies run; a static site is one, what is stopped none."""
        return int(not self.stopped) if self.image.runtime == "static" else sum(process.replicas for process in self.processes)

    def digest(self) -> str:
        """sha256 over the canonical JSON: two equal values have one digest, on every machine."""
        import hashlib

        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


class Replica(Noun, frozen=True):
    """One running copy of a process, as the runtime sees it. `address` is host:port to dial, None for workers."""

    process: str
    index: int
    id: str
    address: str | None
    state: Literal["running", "restarting", "exited", "missing"]
    number: int
    exit_code: int | None = None
    restarts: int = 0
    memory: int | None = None
    restarts_handled: int = 0
    """Desired.restarts as it was when this copy was started."""


class Running(Noun, frozen=True):
    """A candidate that is up: what the route switch points at. `site` is the folder of a static one."""

    deployment_id: str
    number: int
    runtime: RuntimeName
    addresses: tuple[str, ...] = ()
    site: str | None = None


class Switch(Noun, frozen=True):
    """One turn of an environment's traffic: from what (None at the first), to what."""

    environment_id: str
    number: int
    previous: int | None


class Traffic(Noun, frozen=True):
    """What the prober saw: `probes` requests asked, `dropped` of them failed, the longest wait for one answer."""

    probes: int
    dropped: int
    longest_wait_ms: int


def truncated_label(name: str, digest: str) -> str:
    """A DNS label of at most 63 characters: as it is, or cut to 54, a dash, 8 hex of its hash (design: Names)."""
    return name if len(name) <= 63 else f"{name[:54].rstrip('-')}-{digest[:8]}"
