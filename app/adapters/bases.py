"""Base images: pulled where a registry can be reached, else made of Debian's packages by a recipe.

A recipe is data in `bundles/base-images/<dir>/recipe.toml`. It serves the one name that is true of it, and no other version
ever gets that name.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from app.adapters import process
from app.adapters.buildkit import Build
from app.adapters.docker import Docker
from app.adapters.process import Cancel
from app.diagnosis import missing_image, registry_silent
from app.errors import HomeportError, StageFailed, Unavailable
from app.settings import Settings

Log = Callable[[str], None]

LABEL = "homeport.stand-in"
VERDICT_SECONDS = 300.0
"""How long it is remembered that no registry, or that one, was reached."""
BUILD_SECONDS = 900.0
PROBE = "debian:12-slim"

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)


class HostFile(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from", "target": "to"}):
    """A file or folder of this machine that goes into the image, or into the build's context."""

    source: str
    target: str


class HostVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A program of this machine whose printed version must start with `prefix` for the recipe to be true."""

    argv: tuple[str, ...]
    prefix: str


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to make one base image without a registry."""

    image: str
    kind: Literal["rootfs", "dockerfile"]
    suite: str = ""
    include: tuple[str, ...] = ()
    host_files: tuple[HostFile, ...] = ()
    host_version: HostVersion | None = None
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    folder: Path = Path()
    """Where the recipe is; its Dockerfile is beside it."""

    def __hash__(self) -> int:
        return hash(self.image)


class Bases:
    """Makes sure that base images are on this machine."""

    def __init__(self, docker: Docker, settings: Settings) -> None:
        self._docker = docker
        self._settings = settings
        self._building = threading.RLock()
        self._unreached: str | None = None
        self._judged_at = -VERDICT_SECONDS

    def ensure(self, reference: str, log: Log, cancel: Cancel) -> str:
        """The engine's id of `reference`: what is here, else pulled, else built by the recipe of exactly that name.

        Raises StageFailed `image-not-found`, which says whether no registry was reached or it does not have the image.
        """
        found = self._local(reference)
        if found:
            return found
        with self._building:
            return self._local(reference) or self._pulled(reference, log, cancel) or self._made(reference, log, cancel)

    def stand_ins(self) -> dict[str, tuple[str, ...]]:
        """Versions by language that this box has, or can make, without a registry, e.g. {"python": ("3.11",)}.

        Those it can make count only while no registry is reached.
        """
        try:
            made = [tag for image in self._docker.images({LABEL: ""}) for tag in image.get("RepoTags") or ()]
        except Unavailable:
            return {}
        others = [recipe for recipe in recipes() if recipe.image not in made]
        makeable = [recipe.image for recipe in others if fits(recipe)] if others and self.unreached() else []
        return versions([*made, *makeable])

    def unreached(self) -> str | None:
        """Why no registry is reached, None when one answers. Asked at most once in VERDICT_SECONDS."""
        if time.monotonic() - self._judged_at >= VERDICT_SECONDS:
            try:
                self._docker.registry_has(PROBE)
                self._judge(None)
            except HomeportError as error:
                self._judge(error.cause if isinstance(error, Unavailable) or registry_silent(error.cause) else None)
        return self._unreached

    def _judge(self, unreached: str | None) -> None:
        self._unreached, self._judged_at = unreached, time.monotonic()

    def _local(self, reference: str) -> str | None:
        image = self._docker.image(reference)
        return str(image["Id"]) if image else None

    def _pulled(self, reference: str, log: Log, cancel: Cancel) -> str | None:
        """The pulled image's id; None when it cannot be pulled and a recipe is there to make it."""
        why = self._unreached if time.monotonic() - self._judged_at < VERDICT_SECONDS else None
        if why is None:
            why = self._pull(reference, log, cancel)
        if why is not None and _recipe(reference) is None:
            raise missing_image(reference, why)
        return None if why is not None else self._local(reference)

    def _pull(self, reference: str, log: Log, cancel: Cancel) -> str | None:
        log(f"pulling {reference}")
        try:
            self._docker.pull(reference, log, cancel)
        except HomeportError as error:
            cancel.raise_if_set()
            silent = isinstance(error, Unavailable) or registry_silent(error.cause)
            self._judge(error.cause if silent else None)
            return error.cause
        self._judge(None)
        return None

    def _made(self, reference: str, log: Log, cancel: Cancel) -> str:
        recipe = _recipe(reference)
        if recipe is None or not fits(recipe):
            raise missing_image(reference, self._unreached or "this machine does not have what its recipe needs")
        log(f"{reference}: no registry has it for this machine; making a stand-in from Debian's packages")
        make = self._root_file_system if recipe.kind == "rootfs" else self._dockerfile
        with _emptied(self._settings.root / "bases" / recipe.folder.name) as folder:
            make(recipe, folder, log, cancel)
        made = self._local(reference)
        if made is None:
            raise missing_image(reference, "its recipe ended without it")
        return made

    def _root_file_system(self, recipe: Recipe, folder: Path, log: Log, cancel: Cancel) -> None:
        archive = folder / "rootfs.tar"
        argv = rootfs_argv(recipe, archive)
        code = process.stream(argv, on_line=log, timeout=BUILD_SECONDS, cancel=cancel)
        if code != 0:
            raise _unmade(recipe, f"mmdebstrap ended with exit code {code}")
        self._docker.import_rootfs(archive, recipe.image, changes(recipe))

    def _dockerfile(self, recipe: Recipe, folder: Path, log: Log, cancel: Cancel) -> None:
        text = (recipe.folder / "Dockerfile").read_text()
        for base in parents(text):
            self.ensure(base, log, cancel)
        (folder / "Dockerfile").write_text(text)
        for file in recipe.host_files:
            _copy(Path(file.source), folder / file.target)
        build = Build(
            context=folder,
            dockerfile=folder / "Dockerfile",
            tag=recipe.image,
            labels={LABEL: recipe.image},
            timeout=BUILD_SECONDS,
        )
        built = self._docker.build(build, log, cancel)
        if built.exit_code != 0:
            raise _unmade(recipe, built.error)


@cache
def recipes() -> tuple[Recipe, ...]:
    """Every recipe that comes with us."""
    with resources.as_file(resources.files("bundles") / "base-images") as root:
        paths = sorted(root.glob("*/recipe.toml"))
        return tuple(read_recipe(path) for path in paths)


def read_recipe(path: Path) -> Recipe:
    """One recipe, of its own folder."""
    values = tomllib.loads(path.read_text())
    return msgspec.structs.replace(msgspec.convert(values, Recipe), folder=path.parent)


@cache
def fits(recipe: Recipe) -> bool:
    """Whether this machine has what the recipe needs. Asked once: it runs the host's programs."""
    if recipe.kind == "rootfs" and shutil.which("mmdebstrap") is None:
        return False
    if not all(Path(file.source).exists() for file in recipe.host_files):
        return False
    if recipe.host_version is None:
        return True
    try:
        printed = process.run(recipe.host_version.argv, timeout=10).stdout.decode(errors="replace")
    except HomeportError:
        return False
    return printed.startswith(recipe.host_version.prefix)


def rootfs_argv(recipe: Recipe, archive: Path) -> list[str]:
    """The command that makes a root file system of Debian's packages."""
    argv = ["mmdebstrap", "--variant=minbase", f"--include={','.join(recipe.include)}"]
    for file in recipe.host_files:
        argv += [f"--customize-hook=upload {file.source} {file.target}"]
    return [*argv, recipe.suite, str(archive)]


def changes(recipe: Recipe) -> list[str]:
    """What an imported root file system cannot say itself, as Dockerfile instructions."""
    command = [f"CMD {msgspec.json.encode(recipe.command).decode()}"] if recipe.command else []
    env = [f"ENV {key}={value}" for key, value in recipe.env.items()]
    return [f"LABEL {LABEL}={recipe.image}", *env, *command]


def parents(dockerfile: str) -> list[str]:
    """The images that a Dockerfile starts from, without its own stages and `scratch`."""
    stages: set[str] = {"scratch"}
    found: list[str] = []
    for match in re.finditer(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", dockerfile, re.IGNORECASE | re.MULTILINE):
        if match[1] not in stages and match[1] not in found:
            found.append(match[1])
        if match[2]:
            stages.add(match[2])
    return found


def versions(references: list[str]) -> dict[str, tuple[str, ...]]:
    """`python:3.11-slim` as {"python": ("3.11",)}, for all of them."""
    found: dict[str, set[str]] = {}
    for reference in references:
        name, _, tag = reference.partition(":")
        if name != "<none>":  # what the engine calls an image that lost its name to a newer one
            found.setdefault(name, set()).add(tag.partition("-")[0])
    return {name: tuple(sorted(tags)) for name, tags in sorted(found.items())}


def _recipe(reference: str) -> Recipe | None:
    return next((recipe for recipe in recipes() if recipe.image == reference), None)


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder of this name with nothing in it, whatever a crash left there; gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)


def _unmade(recipe: Recipe, why: str) -> StageFailed:
    return StageFailed(
        f"The stand-in of {recipe.image} could not be made: {why}",
        failure_code="image-not-found",
        hint="The lines above say why; Debian's package mirror must be reachable once.",
    )
