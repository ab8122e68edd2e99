"""The Procfile: process names and their commands."""

from __future__ import annotations

import re

from app.detection.tree import Tree

NAME = "Procfile"
_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(\S.*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read(tree: Tree) -> dict[str, str]:
    """Process name to command, in the file's order; names as DNS labels. Lines that say nothing usable are noted in the tree."""
    found: dict[str, str] = {}
    for number, line in enumerate((tree.text(NAME) or "").splitlines() if tree.glob(NAME) else (), start=1):
        text = line.strip()
        match = _LINE.fullmatch(text)
        name = match[1].lower().replace("_", "-").strip("-")[:32].rstrip("-") if match else ""
        if match and name[:1].isalpha() and not _CONTROL.search(match[2]):
            found[name] = match[2].strip()
        elif text and not text.startswith("#"):
            tree.notes.append(f"{NAME} line {number} is no `name: command` and was left out")
    return found
