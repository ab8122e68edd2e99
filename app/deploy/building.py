"""The image stage: a checkout and its plan become an image of the engine, or a folder of files. Unchanged input is not built."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app.adapters import sites
from app.adapters.buildkit import Build, Built
from app.appliance import Appliance
from app.diagnosis import BuildEvidence, diagnose_build, mebibytes
from app.errors import OutOfSpace, StageFailed, TimedOut
from app.model import Deployment, Image, Plan
from app.runtimes import containers
from app.runtimes.static import site_folder

if TYPE_CHECKING:
    from app.model import Checkout

Log = Callable[[str], None]

CACHE_ID = "@CACHE_ID@"
"""Stands in a bundle's Dockerfile where the id of the project's own cache mounts goes."""
ENV_SECRET = "homeport_env"
"""The id of the secret that holds every variable of the build, as lines for a shell."""
ROOM = 2 << 30
"""Bytes that must be free before an image is built, or a tenth of a small disk."""

_PLAN_KEYS = ("bundle", "runtime", "install", "build", "output", "dockerfile", "root", "context", "args", "env_build")


def build(box: Appliance, deployment: Deployment, checkout: Checkout, plan: Plan) -> Image:
    """The image of this input: found when it was built before, else built.

    Raises StageFailed with the diagnosis (`build-failed`, `build-timeout`, `out-of-memory`, `image-not-found`, `disk-full`,
    `output-missing`), and Canceled.
    """
    log, cancel = box.journal.log(deployment), box.journal.cancel(deployment)
    env = build_env(plan, box.store.env.values(deployment.environment_id, deployment.env_version))
    bases = [box.bases.ensure(reference, log, cancel) for reference in plan.base_images]
    slug = box.store.projects.get(deployment.project_id).slug
    tag = image_tag(containers.data_id(box.settings), slug, checkout.tree, plan, env, bases)
    found = _existing(box, deployment, plan, tag)
    if found:
        log(f"unchanged: {tag} was built before")
        return found
    job = Job(box, deployment, checkout.path, plan, tag, env)
    with box.journal.intend(deployment, "image", tag):
        return _site(job) if plan.runtime == "static" else _image(job)


class Job:
    """One build: what every step of it needs."""

    def __init__(
        self, box: Appliance, deployment: Deployment, source: Path, plan: Plan, tag: str, env: Mapping[str, str]
    ) -> None:
        self.box = box
        self.deployment = deployment
        self.source = source
        self.plan = plan
        self.tag = tag
        self.env = env
        self.log = box.journal.log(deployment)
        self.cancel = box.journal.cancel(deployment)


def image_tag(box: str, slug: str, tree: str, plan: Plan, env: Mapping[str, str], bases: Sequence[str]) -> str:
    """`hp-<slug>:<16 hex>` of everything that the content of the image depends on. `box` keeps two boxes' images apart."""
    decided = {key: getattr(plan, key) for key in _PLAN_KEYS}
    parts = [box, slug, tree, decided, sorted(env.items()), list(bases)]
    return f"hp-{slug}:{hashlib.sha256(msgspec.json.encode(parts, order='deterministic')).hexdigest()[:16]}"


def build_env(plan: Plan, env: Mapping[str, str]) -> dict[str, str]:
    """The variables that the build sees: of defaults and the environment's own, those that the plan names for it."""
    prefixes = tuple(key.removesuffix("*") for key in plan.env_build if key.endswith("*"))
    known = {**plan.env, **env}
    return {key: value for key, value in known.items() if key in plan.env_build or (prefixes and key.startswith(prefixes))}


def build_labels(box: Appliance, deployment: Deployment) -> dict[str, str]:
    """What the image says of itself."""
    return containers.ours(
        containers.data_id(box.settings),
        **{containers.ORGANIZATION: deployment.organization_id, containers.PROJECT: deployment.project_id},
    )


def dockerfile_of(plan: Plan, project_id: str, env: Mapping[str, str]) -> str:
    """The text to build: cache mounts of the project's own, and secret mounts whose ids change with the secrets.

    BuildKit does not look at a secret's content when it decides whether a step is unchanged; it looks at its id.
    """
    text = (plan.dockerfile or "").replace(CACHE_ID, f"hp-{project_id}")
    return _MOUNT.sub(lambda match: _stamped_mount(match[0], env), text)


def secret_ids(env: Mapping[str, str]) -> dict[str, str]:
    """The text of every secret of a build, by id: all variables for a shell, and each alone; under plain and stamped ids."""
    together = "".join(f"{key}={shlex.quote(value)}\n" for key, value in sorted(env.items()))
    plain = {ENV_SECRET: together, **env}
    return plain | {_stamped(key, env): text for key, text in plain.items()}


_SYNTAX = re.compile(r"\A#[ \t]*syntax[ \t]*=[ \t]*docker/dockerfile[^\n]*\n", re.IGNORECASE)
_MOUNT = re.compile(r"--mount=type=secret\S*|--mount=\S*,type=secret\S*")


def _stamped(key: str, env: Mapping[str, str]) -> str:
    return f"{key}-{hashlib.sha256(msgspec.json.encode(sorted(env.items()))).hexdigest()[:12]}"


def _stamped_mount(mount: str, env: Mapping[str, str]) -> str:
    options = mount.removeprefix("--mount=").split(",")
    named = next((option for option in options if option.startswith("id=")), "")
    key = named.removeprefix("id=")
    if key != ENV_SECRET and key not in env:
        return mount
    rest = [option for option in options if option != named]
    if not any(option.split("=")[0] in ("target", "dst", "destination", "env") for option in rest):
        rest.append(f"target=/run/secrets/{key}")
    return f"--mount={','.join([*rest, f'id={_stamped(key, env)}'])}"


def _existing(box: Appliance, deployment: Deployment, plan: Plan, tag: str) -> Image | None:
    if plan.runtime == "static":
        folder = site_folder(box.settings, deployment.project_id, tag)
        if not folder.is_dir():
            return None
        return Image(runtime="static", tag=tag, digest=sites.digest(folder), reused=True)
    image = box.docker.image(tag)
    if image is None or containers.label(image, containers.DATA) != containers.data_id(box.settings):
        return None
    return Image(runtime="docker", tag=tag, digest=image["Id"], reused=True)


def _image(job: Job) -> Image:
    refuse_full_disk([job.box.settings.root, Path(job.box.docker.traits().get("DockerRootDir") or "/")])
    _run(job, output=None)
    image = job.box.docker.image(job.tag)
    if image is None:
        raise diagnose_build(BuildEvidence(error="the builder ended without an image"))
    return Image(runtime="docker", tag=job.tag, digest=image["Id"])


def _site(job: Job) -> Image:
    folder = site_folder(job.box.settings, job.deployment.project_id, job.tag)
    if job.plan.dockerfile is None:
        return _published(job, _inside(job.source, job.plan.output or "."), folder)
    refuse_full_disk([job.box.settings.root])
    with _workshop(job) as work:
        _run(job, output=work / "out")
        return _published(job, _inside(work / "out", (job.plan.output or "/").lstrip("/") or "."), folder)


def _published(job: Job, source: Path, folder: Path) -> Image:
    if not source.is_dir():
        raise StageFailed(
            f"The folder of built files, {job.plan.output}, is not there after the build.",
            failure_code="output-missing",
            hint="Name the folder that the build writes with `[build] output` in homeport.toml.",
        )
    digest = sites.publish(source, folder, job.log)
    return Image(runtime="static", tag=job.tag, digest=digest)


def _run(job: Job, output: Path | None) -> None:
    """One build under the caps. Raises StageFailed with the diagnosis when it does not end well."""
    with job.box.docker.build_slot(job.log, job.cancel), _workshop(job) as work:
        text = dockerfile_of(job.plan, job.deployment.project_id, job.env)
        if _SYNTAX.match(text) and job.box.bases.unreached():
            job.log("note: no registry is reached, so the `# syntax=` line is left out and the engine's own dialect is used")
            text = _SYNTAX.sub("", text)
        request = Build(
            context=_inside(job.source, job.plan.context),
            dockerfile=_written(work / "Dockerfile", text),
            tag=None if output else job.tag,
            output=output,
            labels=build_labels(job.box, job.deployment),
            args=job.plan.args,
            secrets={key: _written(work / "secrets" / key, text) for key, text in secret_ids(job.env).items()},
            memory=job.plan.build_memory,
            timeout=job.plan.build_timeout,
        )
        try:
            built = job.box.docker.build(request, job.log, job.cancel)
        except TimedOut as error:
            raise _too_slow(job.plan) from error
    if built.exit_code != 0:
        raise diagnose_build(evidence_of(built))


def evidence_of(built: Built) -> BuildEvidence:
    """What the rules of diagnosis look at."""
    return BuildEvidence(
        step=built.step,
        exit_code=built.step_exit_code,
        image=built.image,
        oom=built.oom,
        memory=built.memory,
        log_tail=built.tail,
        error=built.error,
    )


def refuse_full_disk(folders: Sequence[Path]) -> None:
    """Raises OutOfSpace when a build would start on a disk that is nearly full."""
    for folder in folders:
        usage = shutil.disk_usage(folder) if folder.exists() else None
        if usage and usage.free < min(ROOM, usage.total // 10):
            raise OutOfSpace(f"Only {mebibytes(usage.free)} are free at {folder}, too little to build an image.")


@contextmanager
def _workshop(job: Job) -> Iterator[Path]:
    # Named after the deployment: what a crash leaves here goes away with the deployment's other leftovers.
    parent = job.box.settings.root / "work"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{job.deployment.id}.build-", dir=parent) as folder:
        yield Path(folder)


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _inside(root: Path, relative: str) -> Path:
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise StageFailed(
            f"{relative} leads out of the repository.",
            failure_code="source-refused",
            hint="Name a folder inside the repository.",
        )
    return path


def _too_slow(plan: Plan) -> StageFailed:
    return StageFailed(
        f"The build took longer than {plan.build_timeout:g} s and was ended.",
        failure_code="build-timeout",
        hint="Give it more with `[build] timeout` in homeport.toml, or see in the log which step hangs.",
    )
