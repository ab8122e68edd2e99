"""Which packages a repository names, by language: the name (normalised) and the file that says so."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

from app.detection.tree import Tree

INCLUDE_DEPTH = 5
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?", re.ASCII)
_INCLUDE = re.compile(r"^\s*(?:-r|--requirement)[\s=]\s*(\S+)")
_EGG = re.compile(r"#egg=([\w.-]+)|/([\w.-]+?)(?:\.git)?(?:@[^/]*)?$")
_QUOTED = re.compile(r"""["']([A-Za-z0-9][^"'\n]*)["']""")
_INSTALL_REQUIRES = re.compile(r"install_requires\s*=\s*\[(.*?)\]", re.DOTALL)
_REQUIREMENT_FILES = ("requirements.txt", "requirements/*.txt", "requirements-prod*.txt", "requirements.in")
_NODE_TABLES = ("dependencies", "devDependencies", "optionalDependencies")
_GO_REQUIRE = re.compile(r"^[ \t]*(?:require[ \t]+)?([\w.-]+/\S+)[ \t]+v\d", re.MULTILINE)


def of(tree: Tree, language: str) -> dict[str, str]:
    """Package name to the file that names it. `name[extra]` stands beside `name` for each extra asked for."""
    found: dict[str, str] = {}
    for name, file in _SOURCES.get(language, _nothing)(tree):
        found.setdefault(name, file)
    return found


def _nothing(tree: Tree) -> Iterator[tuple[str, str]]:
    return iter(())


def _node(tree: Tree) -> Iterator[tuple[str, str]]:
    for table in _NODE_TABLES:
        for name in _table(tree.value("package.json", table)):
            yield name, "package.json"


def _go(tree: Tree) -> Iterator[tuple[str, str]]:
    for name in _GO_REQUIRE.findall(tree.text("go.mod") or ""):
        yield name, "go.mod"


def _python(tree: Tree) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for pattern in _REQUIREMENT_FILES:
        for file in tree.glob(pattern):
            yield from _requirements(tree, file, seen)
    for name in _named(_strings(tree.value("pyproject.toml", "project.dependencies"))):
        yield name, "pyproject.toml"
    for key, value in _table(tree.value("pyproject.toml", "tool.poetry.dependencies")).items():
        yield from ((name, "pyproject.toml") for name in _with_extras(key, value))
    for key, value in _table(tree.value("Pipfile", "packages") if tree.glob("Pipfile") else None).items():
        yield from ((name, "Pipfile") for name in _with_extras(key, value))
    block = _INSTALL_REQUIRES.search(tree.text("setup.py") or "") if tree.glob("setup.py") else None
    for name in _named(_QUOTED.findall(block[1]) if block else []):
        yield name, "setup.py"


def _requirements(tree: Tree, file: str, seen: set[str], depth: int = 0) -> Iterator[tuple[str, str]]:
    if file in seen or depth > INCLUDE_DEPTH:
        return
    seen.add(file)
    for line in (tree.text(file) or "").splitlines():
        include = _INCLUDE.match(line)
        if include:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(file), include[1]))
            yield from _requirements(tree, target, seen, depth + 1)
        elif not line.lstrip().startswith(("#", "-")) or "#egg=" in line:
            yield from ((name, file) for name in _named([line]))


def _named(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        address = _EGG.search(line.strip()) if "://" in line and "@ " not in line else None
        match = _REQUIREMENT.match(line)
        if address:
            yield _normal(address[1] or address[2])
        elif match:
            name = _normal(match[1])
            yield name
            yield from (f"{name}[{extra.strip()}]" for extra in (match[2] or "").split(",") if extra.strip())


def _with_extras(name: str, value: object) -> Iterator[str]:
    yield _normal(name)
    extras = value.get("extras") if isinstance(value, dict) else None
    yield from (f"{_normal(name)}[{extra}]" for extra in _strings(extras))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


_SOURCES = {"node": _node, "go": _go, "python": _python}
