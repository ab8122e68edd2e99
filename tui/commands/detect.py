"""`homeport detect` and `validate`: what would be built, and whether homeport.toml is right; both without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.errors import BadInput
from app.model import Plan
from tui.grammar import Verbs
from tui.output import Painted
from tui.session import Session

FIELDS = ("language", "framework", "install", "build", "start", "port", "output")


def add(verbs: Verbs) -> None:
    parser = verbs.add("detect", detect, "show what a folder is recognised as, and why", "Nothing is built and nothing is sent.")
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="the folder (default: this one)")
    parser = verbs.add("validate", validate, "check homeport.toml")
    parser.add_argument("path", nargs="?", default=".", metavar="PATH", help="the folder (default: this one)")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of homeport.toml instead")


def detect(session: Session) -> None:
    """Raises NotRecognised, saying what was looked for, and ConfigInvalid."""
    from app.catalog import Catalog

    plan = Catalog.load(None).detect(_folder(session))
    out = session.out
    if out.json:
        out.emit(described(plan))
    out.say(Painted(plan.bundle, "bold"))
    for name in FIELDS:
        value = shown(plan, name)
        if value is not None:
            out.say(f"  {name:<10} {value}")
    for choice in plan.choices:
        out.say(f"  {choice.name:<10} {choice.value}  ", Painted(f"because {choice.because}", "dim"))
    for warning in plan.warnings:
        out.note(f"warning: {warning}")


def described(plan: Plan) -> dict[str, Any]:
    """What `detect --json` prints."""
    return {"bundle": plan.bundle, **{name: shown(plan, name) for name in FIELDS}, "choices": plan.choices}


def shown(plan: Plan, name: str) -> str | int | None:
    """A field as a person means it: the output is the folder of the repository, not where the build stage keeps it."""
    chosen = {choice.name: choice.value for choice in plan.choices}
    return chosen.get(name, plan.output) if name == "output" else getattr(plan, name)


def validate(session: Session) -> None:
    """Raises ConfigInvalid with line and key."""
    from app import config

    out = session.out
    if session.arguments.schema:
        import json

        out.document(json.dumps(config.json_schema(), indent=2))
        return
    found = config.load(_folder(session))
    warnings = () if found is None else found.warnings
    if out.json:
        out.emit({"valid": True, "present": found is not None, "warnings": warnings})
    out.say("there is no homeport.toml; everything is detected" if found is None else "homeport.toml is valid")
    for warning in warnings:
        out.note(f"warning: {warning}")


def _folder(session: Session) -> Path:
    folder = Path(session.arguments.path).expanduser()
    if not folder.is_dir():
        raise BadInput(f"{session.arguments.path} is no folder.", hint="Give the folder of the application.")
    return folder
