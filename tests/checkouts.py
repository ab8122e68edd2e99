"""Checkouts for tests of the catalog: files in a folder, small programs, and one choice of a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.model import Choice, Plan

APP = "from flask import Flask\napp = Flask(__name__)\n"
GO = "package main\n\nfunc main() {}\n"


def tree(folder: Path, files: dict[str, str]) -> Path:
    """These files in `folder`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def choice(plan: Plan, name: str) -> Choice:
    """The choice of that name."""
    return next(choice for choice in plan.choices if choice.name == name)


def package(*dependencies: str, **more: Any) -> str:
    """A package.json: what it depends on, and `scripts` and the like."""
    return json.dumps({"dependencies": dict.fromkeys(dependencies, "1"), **more})
