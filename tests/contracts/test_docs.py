"""The documentation names what there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from app import config
from app.config import json_schema
from app.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROW = re.compile(r"^\| `([a-z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def written(default: object) -> str:
    """A default as the table writes it."""
    if default is None:
        return "none"
    if default == ():
        return "`[]`"
    return '`""`' if default == "" else f"`{default}`"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {key: default for key, default, _meaning in ROW.findall((DOCS / "settings.md").read_text())}
    fields = {field.name: field.default for field in msgspec.structs.fields(Settings) if field.name != "data"}

    assert rows == {name: written(default) for name, default in fields.items()}


def test_every_key_of_homeport_toml_is_documented() -> None:
    text = (DOCS / "homeport-toml.md").read_text()
    sections = {name: set(part["properties"]) for name, part in json_schema()["$defs"].items() if name != "Config"}

    assert {name for keys in sections.values() for name in keys if f"`{name}`" not in text} == set()
    assert set(json_schema()["$defs"]["Config"]["properties"]) <= set(re.findall(r"\[+([a-z]+)", text))


def test_the_example_of_homeport_toml_is_valid_and_does_what_it_says() -> None:
    example = re.search(r"```toml\n(.*?)```", (DOCS / "homeport-toml.md").read_text(), re.DOTALL)
    assert example is not None
    assert config.parse(example[1]).warnings == ()


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")

    assert broken == []


def test_the_page_of_commands_is_current() -> None:
    from tests.cli_page import page

    assert (DOCS / "cli.md").read_text() == page(), "write it anew with `make docs`"


def test_every_command_of_the_grammar_is_on_its_page() -> None:
    from app.cli import parser as homeportd
    from tests.cli_page import leaves
    from tui.cli import parser as homeport

    text = (DOCS / "cli.md").read_text()
    commands = [command.prog for root in (homeport(), homeportd()) for command, _summary in leaves(root)]

    assert [command for command in commands if f"### `{command}" not in text] == []
    assert {"homeport deploy", "homeport rollback", "homeport env set", "homeportd up"} <= set(commands)
