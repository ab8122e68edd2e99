"""Decides what a checkout is and how to build and run it: bundles are data, every decision carries its reason, nothing is done.

homeport.toml wins over the Procfile, that over a Dockerfile, that over what was detected.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from app import config as toml
from app.detection import bundle as bundles
from app.detection import unrecognised
from app.detection.bundle import Bundle, Condition
from app.detection.rules import Decisions, Facts
from app.detection.tree import Tree
from app.errors import ConfigInvalid
from app.model import Plan
from app.planner import Planner


class Catalog:
    """The bundles that this box knows, in the order in which they are asked."""

    def __init__(self, known: tuple[Bundle, ...]) -> None:
        self.bundles = known

    @classmethod
    def load(cls, extra: Path | None) -> Catalog:
        """Our bundles, and before them those in the folder `extra`. Raises BadInput for a bundle that cannot be used."""
        ours = resources.files("bundles").joinpath("frameworks")
        return cls(bundles.load([extra, ours] if extra else [ours]))

    def detect(self, root: Path, stand_ins: Mapping[str, tuple[str, ...]] | None = None) -> Plan:
        """The plan for the checkout at `root`. `stand_ins`: versions by base image that this box makes without a registry.

        Raises ConfigInvalid for its homeport.toml, NotRecognised when no bundle fits.
        """
        config = toml.load(root) or toml.Config()
        tree = _application(root, config)
        facts = Facts(tree)
        bundle, why = self._chosen(facts, config)
        return Planner(facts, bundle, why, config).plan(stand_ins or {})

    def _chosen(self, facts: Facts, config: toml.Config) -> tuple[Bundle, str]:
        named = config.build.bundle or ("dockerfile" if config.build.dockerfile else None)
        if named:
            return self._named(named), "homeport.toml: build." + ("bundle" if config.build.bundle else "dockerfile")
        refused: list[str] = []
        for bundle in self.bundles:
            decisions = Decisions(facts, bundle, {})
            because = recognises(decisions)
            if because is None:
                continue
            refusal = next(decisions.refusals(), None)
            lacking = next((words for name, words in bundle.require.items() if decisions.value(name) is None), None)
            if refusal is None and lacking is None:
                return bundle, because
            refused.append(f"{bundle.name} ({because}): {refusal or lacking}")
        raise unrecognised.error(facts.tree, self.bundles, refused, self._below(facts.tree))

    def _named(self, name: str) -> Bundle:
        found = next((bundle for bundle in self.bundles if bundle.name == name), None)
        if found is None:
            raise ConfigInvalid(
                f"homeport.toml, build.bundle: there is no bundle {name!r}", hint=_known_bundles(self.bundles), key="build.bundle"
            )
        return found

    def _below(self, tree: Tree) -> dict[str, str]:
        """Folders one level down that a bundle would take, and which."""
        found: dict[str, str] = {}
        for folder in tree.glob("*/")[: unrecognised.FOLDERS]:
            facts = Facts(Tree(Path(tree.root, folder)))
            for bundle in self.bundles:
                decisions = Decisions(facts, bundle, {})
                if (
                    next(decisions.refusals(), None) is None
                    and recognises(decisions)
                    and all(decisions.value(name) for name in bundle.require)
                ):
                    found[folder.rstrip("/")] = bundle.name
                    break
        return found


def recognises(decisions: Decisions) -> str | None:
    """Why the bundle takes the checkout to be its own, or None."""
    for condition in decisions.bundle.detect:
        found = decisions.holds(condition)
        if found is not None:
            return _evidence(condition, found)
    return None


def _application(root: Path, config: toml.Config) -> Tree:
    """The tree of [build] root. Raises ConfigInvalid when that is no folder inside the checkout."""
    whole = Tree(root)
    if not config.build.root or config.build.root == ".":
        return whole
    inner = Tree(root / config.build.root)
    if not Path(inner.root).is_dir() or not inner.root.startswith(whole.root + "/"):
        raise ConfigInvalid(f"homeport.toml, build.root: there is no folder {config.build.root!r}", key="build.root")
    return inner


def _evidence(condition: Condition, found: Mapping[str, str]) -> str:
    if condition.dependency:
        return f"{found['dependency']} in {found['manifest']}"
    file = found.get("file", "the files")
    return f"{condition.key} in {file}" if condition.key else file


def _known_bundles(known: tuple[Bundle, ...]) -> str:
    return "Bundles: " + ", ".join(bundle.name for bundle in known) + "."
