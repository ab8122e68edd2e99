"""Asks the conditions of a bundle of a checkout, and makes its decisions: lazily, each once, the first rule that holds."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import cache

from app.detection import dependencies
from app.detection.bundle import Bundle, Condition, Rule
from app.detection.tree import Tree
from app.detection.versions import Asked
from app.model import Choice

_PLACE = re.compile(r"\{(\w+)(\.because)?(?::([^{}]*))?\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
VALUE_LIMIT = 4096

Found = dict[str, str]


class Facts:
    """One checkout, and the packages it names; shared by all bundles that look at it."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._dependencies: dict[str, dict[str, str]] = {}

    def dependencies(self, language: str) -> dict[str, str]:
        """Package names and the files that name them."""
        if language not in self._dependencies:
            self._dependencies[language] = dependencies.of(self.tree, language)
        return self._dependencies[language]


class Decisions:
    """The decisions of one bundle about one checkout. `given` ones are fixed before any rule is asked."""

    def __init__(self, facts: Facts, bundle: Bundle, given: Mapping[str, Choice]) -> None:
        self.facts = facts
        self.bundle = bundle
        self._made: dict[str, Choice | None] = dict(given)
        self._rules = bundle.rules

    @property
    def names(self) -> list[str]:
        """Every decision that was given or that a rule can make, in the order of the rules."""
        return list(dict.fromkeys([*self._rules, *self._made]))

    def choice(self, name: str) -> Choice | None:
        """The decision `name`, made now when it was not made yet; None when no rule holds."""
        if name not in self._made:
            self._made[name] = None  # a rule that asks for its own decision finds none
            self._made[name] = next(filter(None, map(self._apply, self._rules.get(name, ()))), None)
        return self._made[name]

    def value(self, name: str) -> str | None:
        """The value of the decision `name`, or None."""
        choice = self.choice(name)
        return choice.value if choice else None

    def holds(self, condition: Condition) -> Found | None:
        """What `condition` found, or None when it does not hold."""
        for name, pattern in condition.where.items():
            if not _compiled(pattern).search(self.value(name) or ""):
                return None
        if condition.missing and any(self.facts.tree.glob(self.fill(pattern, {})) for pattern in condition.missing):
            return None
        named = self.facts.dependencies(self.bundle.language) if condition.dependency or condition.without else {}
        if any(name in named for name in condition.without):
            return None
        found = self._dependency(condition, named)
        found = None if found is None else self._located(condition, found)
        for other in condition.also:
            inner = self.holds(other) if found is not None else None
            found = {**inner, **found} if found is not None and inner is not None else None
        return found

    def refusals(self) -> Iterator[str]:
        """Why the bundle does not take the checkout after all, in words."""
        for rule in self.bundle.refuse:
            found = self.holds(rule)
            if found is not None:
                yield self.fill(rule.because, found)

    def asked_versions(self) -> Iterator[Asked]:
        """Every version that the repository asks for, the most telling first."""
        for source in self.bundle.version_from:
            found = self.holds(source)
            if found is not None:
                yield Asked(self.fill(source.value, found), self.fill(source.because, found))

    def fill(self, text: str, found: Found) -> str:
        """`text` with its places filled; other braces stay.

        `{name}` is what was found under the name, or that decision; `{name:--flag %s }` is empty when the name is, and
        `{name.because}` the decision's reason.
        """

        def one(match: re.Match[str]) -> str:
            name, reason, shape = match.groups()
            if name not in found and name not in self._rules and name not in self._made:
                return match[0]
            choice = None if name in found else self.choice(name)
            value = found.get(name, "") if choice is None else choice.because if reason else choice.value
            return value if shape is None else shape.replace("%s", value) if value else ""

        return _PLACE.sub(one, text) if "{" in text else text

    def _apply(self, rule: Rule) -> Choice | None:
        found = self.holds(rule)
        if found is None:
            return None
        value = self.fill(rule.value, found).strip()
        if len(value) > VALUE_LIMIT or _CONTROL.search(value):
            return None
        return Choice(name=rule.name, value=value, because=_CONTROL.sub(" ", self.fill(rule.because, found))[:VALUE_LIMIT])

    def _dependency(self, condition: Condition, named: Mapping[str, str]) -> Found | None:
        if not condition.dependency:
            return {}
        name = next((name for name in condition.dependency if name in named), None)
        return None if name is None else {"dependency": name, "manifest": named[name]}

    def _located(self, condition: Condition, found: Found) -> Found | None:
        if not condition.file:
            return found if self._exists(condition, found) else None
        for pattern in condition.file:
            for file in self.facts.tree.glob(self.fill(pattern, found)):
                inside = self._inside(condition, file)
                if inside is not None and self._exists(condition, {**found, **inside}):
                    return {**found, **inside}
        return None

    def _inside(self, condition: Condition, file: str) -> Found | None:
        """What `condition` finds in one file, or None when it does not hold there."""
        found = {"file": file}
        if condition.key is not None:
            value = self.facts.tree.value(file, self.fill(condition.key, {}))
            if value is None or value is False or value == "":
                return None
            found["value"] = value if isinstance(value, str) else str(value)[:VALUE_LIMIT]
        groups: tuple[str | None, ...] = ()
        for pattern, text in ((condition.match, found.get("value")), (condition.path, file)):
            if pattern is not None:
                match = _compiled(pattern).search(self.facts.tree.text(file) or "" if text is None else text)
                if match is None:
                    return None
                groups = match.groups()
        found.update({str(at): group or "" for at, group in enumerate(groups, start=1)})
        return _located_module(self.facts.tree, found)

    def _exists(self, condition: Condition, found: Found) -> bool:
        return condition.exists is None or bool(self.facts.tree.glob(self.fill(condition.exists, found)))


def _located_module(tree: Tree, found: Found) -> Found:
    """`found` with the Python module of its file, and the folder from which that is imported (empty for the root)."""
    file = found["file"]
    if file.endswith(".py"):
        folder, name = posixpath.split(file)
        packages: list[str] = []
        while folder and _in_package(tree, folder, file):
            folder, package = posixpath.split(folder)
            packages.insert(0, package)
        parts = [*packages, *([] if name == "__init__.py" else [name[:-3]])]
        found.update(module=".".join(parts), folder=folder)
    return found


def _in_package(tree: Tree, folder: str, file: str) -> bool:
    """A folder is a package when it says so, or when the file imports by that name or by dots."""
    if tree.glob(f"{folder}/__init__.py"):
        return True
    name = re.escape(posixpath.basename(folder))
    return bool(_compiled(rf"^[ \t]*(?:from[ \t]+(?:\.|{name}[.\s])|import[ \t]+{name}\.)").search(tree.text(file) or ""))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.MULTILINE)
