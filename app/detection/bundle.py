"""A framework bundle: data that says how to recognise, build and start a kind of application. No Python per framework."""

from __future__ import annotations

import graphlib
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from app.detection.versions import Offer
from app.errors import BadInput


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must hold: every field that is given. `{name}` in texts is what this condition found, or a decision (rules.fill).

    It finds: `file`, `module` and `folder` (of a Python file: its dotted name, and the folder to import it from), `1` … `9`
    (groups of `match`), `value` (of `key`), `dependency` and `manifest`.
    """

    file: tuple[str, ...] = ()
    """Patterns; the first file that is there (and matches) counts."""
    match: str | None = None
    """A regular expression (MULTILINE) that the file, or the value of `key`, must hold."""
    key: str | None = None
    """A dotted key of the JSON or TOML file."""
    path: str | None = None
    """A regular expression for the file's path; its groups are `1` … `9` then."""
    exists: str | None = None
    """One more file or folder (`x/`) that must be there."""
    missing: tuple[str, ...] = ()
    dependency: tuple[str, ...] = ()
    """Packages of which one must be named by the repository."""
    without: tuple[str, ...] = ()
    """Packages of which none may be named."""
    where: dict[str, str] = {}
    """Decisions and what their values must match; a decision that is not made counts as empty text."""
    also: tuple[Condition, ...] = ()


class Rule(Condition, frozen=True):
    """One way to make the decision `name`. The first rule of a name that holds decides; names in `_…` are not shown."""

    name: str
    value: str
    because: str


class Refusal(Condition, frozen=True):
    """Why a repository that looks right is not taken."""

    because: str


class Warn(Condition, frozen=True):
    """Something the person should know."""

    text: str


class Packages(Condition, frozen=True):
    """Debian packages for the build, and for the running image."""

    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


class VersionSource(Condition, frozen=True):
    """Where a repository may say its version: `value` is a pin or a range."""

    value: str
    because: str


class Copied(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What dependencies are installed from (`files`, `folders`), and the folders that a program reads at run time (`assets`)."""

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One bundle.toml, after what it `extends` was put under it."""

    name: str
    language: str
    looks_for: str
    """What makes it recognise a repository, in words."""
    extends: str | None = None
    before: tuple[str, ...] = ()
    framework: str | None = None
    runtime: str = "docker"
    own_dockerfile: tuple[str, ...] = ()
    """Names of the repository's own Dockerfile, when the bundle builds that."""
    detect: tuple[Condition, ...] = ()
    refuse: tuple[Refusal, ...] = ()
    choose: tuple[Rule, ...] = ()
    warn: tuple[Warn, ...] = ()
    packages: tuple[Packages, ...] = ()
    require: dict[str, str] = {}
    """Decisions without which nothing can be built, and what to say then."""
    version: Offer | None = None
    version_from: tuple[VersionSource, ...] = ()
    copy: Copied = Copied()
    env: dict[str, str] = {}
    """Variables of the image."""
    env_build: tuple[str, ...] = ()
    template: str | None = None

    @cached_property
    def rules(self) -> dict[str, list[Rule]]:
        """The rules of each decision, in the order in which they are asked."""
        found: dict[str, list[Rule]] = {}
        for rule in self.choose:
            found.setdefault(rule.name, []).append(rule)
        return found


def load(folders: Iterable[Path | Traversable]) -> tuple[Bundle, ...]:
    """The bundles of all `folders` in the order in which they are asked; the same name in an earlier folder wins.

    Raises BadInput naming the bundle that cannot be read, extends nothing known, or stands in a circle.
    """
    read: dict[str, Bundle] = {}
    for folder in folders:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.joinpath("bundle.toml").is_file() and entry.name not in read:
                read[entry.name] = _read(entry)
    whole = {name: _extended(bundle, read, ()) for name, bundle in read.items()}
    return tuple(whole[name] for name in _ordered(whole))


def _read(folder: Path | Traversable) -> Bundle:
    try:
        raw = tomllib.loads(folder.joinpath("bundle.toml").read_text(encoding="utf-8"))
        template = folder.joinpath("Dockerfile")
        text = template.read_text(encoding="utf-8") if template.is_file() else None
        bundle = msgspec.convert({**raw, "template": text}, Bundle)
    except (OSError, ValueError) as error:
        raise BadInput(f"the bundle {folder.name} cannot be used: {error}", hint="Correct its bundle.toml.") from error
    if bundle.name != folder.name:
        raise BadInput(f"the bundle in {folder.name} calls itself {bundle.name}", hint="Give folder and bundle one name.")
    return bundle


def _extended(bundle: Bundle, others: Mapping[str, Bundle], below: tuple[str, ...]) -> Bundle:
    if bundle.extends is None:
        return bundle
    parent = others.get(bundle.extends)
    if parent is None or parent.name in (bundle.name, *below):
        raise BadInput(f"the bundle {bundle.name} extends {bundle.extends}, which cannot be", hint="Name another bundle there.")
    base = _extended(parent, others, (bundle.name, *below))
    return msgspec.structs.replace(
        bundle,
        refuse=bundle.refuse + base.refuse,
        choose=bundle.choose + base.choose,
        warn=bundle.warn + base.warn,
        packages=bundle.packages + base.packages,
        require={**base.require, **bundle.require},
        version=bundle.version or base.version,
        version_from=bundle.version_from or base.version_from,
        copy=base.copy if bundle.copy == Copied() else bundle.copy,
        env={**base.env, **bundle.env},
        env_build=base.env_build + bundle.env_build,
        template=bundle.template or base.template,
    )


def _ordered(bundles: Mapping[str, Bundle]) -> list[str]:
    """Every bundle after those that say they come before it; otherwise by name."""
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name in sorted(bundles):
        sorter.add(name)
    for name in sorted(bundles):
        for later in bundles[name].before:
            if later in bundles:
                sorter.add(later, name)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        raise BadInput(f"bundles come before each other in a circle: {error.args[1]}", hint="Correct `before`.") from error
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order
