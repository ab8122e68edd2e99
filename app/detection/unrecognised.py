"""The words for a repository that no bundle takes: what is in it, what was looked for, what to add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.detection.bundle import Bundle
from app.detection.tree import Tree
from app.errors import NotRecognised

FOLDERS = 20
"""Folders one level down that are looked into."""
NAMES = 12


def error(tree: Tree, known: Iterable[Bundle], refused: list[str], below: Mapping[str, str]) -> NotRecognised:
    """The NotRecognised of a checkout. `refused`: bundles that nearly fitted; `below`: folders that some bundle would take."""
    names = tree.names()
    shown = ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")
    looked = [f"{bundle.name}: {bundle.looks_for}" for bundle in known]
    parts = [f"No bundle recognises this repository. Found: {shown or 'nothing'}."]
    parts += [f"Not taken: {'; '.join(refused)}."] if refused else []
    parts += [f"Looked for: {'; '.join(looked)}."]
    parts += [f"{note}." for note in tree.notes]
    return NotRecognised(" ".join(parts), hint=_hint(below), found=names[:100], looked_for=looked, refused=refused)


def _hint(below: Mapping[str, str]) -> str:
    add = "Add a Dockerfile, or a homeport.toml with [build] bundle and [run.processes] web."
    if not below:
        return add
    folders = ", ".join(f"{folder}/ ({name})" for folder, name in below.items())
    first = next(iter(below))
    return (
        f'A folder below looks right: {folders}. Add a homeport.toml with [build] root = "{first}". Or: {add[0].lower()}{add[1:]}'
    )
