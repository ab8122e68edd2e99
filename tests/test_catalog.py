"""The catalog: golden plans of tiny real projects, precedence, and what may not reach a Dockerfile.

`pytest --update-golden tests/test_catalog.py` writes tests/golden anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.catalog import Catalog
from app.errors import BadInput, ConfigInvalid, HomeportError, NotRecognised
from app.model import Choice, Plan
from tests.checkouts import APP, choice, tree

EXAMPLES = Path(__file__).parent / "examples"
GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if not folder.name.startswith("path-"))


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, catalog: Catalog, update_golden: bool) -> None:
    got, dockerfile = _described(catalog, EXAMPLES / name)
    plan_file, text_file = GOLDEN / f"{name}.json", GOLDEN / f"{name}.Dockerfile"
    if update_golden:
        plan_file.write_bytes(msgspec.json.format(msgspec.json.encode(got), indent=2) + b"\n")
        text_file.unlink(missing_ok=True)
        if dockerfile is not None:
            text_file.write_text(dockerfile)
    assert got == msgspec.json.decode(plan_file.read_bytes())
    assert dockerfile == (text_file.read_text() if text_file.exists() else None)


def test_every_golden_file_has_its_example() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(NAMES)


def test_every_bundle_has_a_golden_example() -> None:
    plans = [msgspec.json.decode(path.read_bytes()) for path in GOLDEN.glob("*.json")]
    assert {plan["bundle"] for plan in plans if "bundle" in plan} == {bundle.name for bundle in Catalog.load(None).bundles}


def _described(catalog: Catalog, folder: Path) -> tuple[dict[str, Any], str | None]:
    try:
        plan = catalog.detect(folder)
    except HomeportError as error:
        return {"error": error.code, "cause": error.cause, "hint": error.hint}, None
    own = (folder / plan.root / "Dockerfile").exists() and plan.bundle == "dockerfile"
    shown = msgspec.structs.replace(plan, dockerfile=None)
    return msgspec.json.decode(msgspec.json.encode(shown)), None if own else plan.dockerfile


def test_precedence_is_homeport_toml_procfile_dockerfile_detection(catalog: Catalog, tmp_path: Path) -> None:
    tree(tmp_path, {"app.py": APP, "requirements.txt": "flask\n"})
    assert choice(catalog.detect(tmp_path), "bundle") == Choice(name="bundle", value="flask", because="flask in requirements.txt")
    tree(tmp_path, {"Dockerfile": "FROM debian:12-slim\nEXPOSE 3000/tcp\nCMD serve --all\n"})
    plan = catalog.detect(tmp_path)
    assert (plan.bundle, plan.port, plan.processes, plan.start) == ("dockerfile", 3000, {"web": None}, "serve --all")
    tree(tmp_path, {"Procfile": "web: by procfile\nworker: work\n"})
    plan = catalog.detect(tmp_path)
    assert plan.processes == {"web": "by procfile", "worker": "work"}
    assert choice(plan, "start").because == "Procfile: web"
    tree(tmp_path, {"homeport.toml": '[run]\nport = 4000\n[run.processes]\nweb = "by homeport.toml"\n'})
    plan = catalog.detect(tmp_path)
    assert (plan.processes["web"], plan.port) == ("by homeport.toml", 4000)
    assert choice(plan, "start").because == "homeport.toml: run.processes.web"
    tree(tmp_path, {"homeport.toml": '[build]\nbundle = "flask"\n'})
    plan = catalog.detect(tmp_path)
    assert (plan.bundle, plan.start) == ("flask", "by procfile")
    assert plan.dockerfile is not None
    assert plan.dockerfile.endswith('CMD ["/bin/sh", "-c", "exec by procfile"]\n')


def test_the_dockerfile_and_its_context_may_be_named(catalog: Catalog, tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "homeport.toml": '[build]\nroot = "api"\ndockerfile = "ops/web.Dockerfile"\ncontext = "src"\nargs = {BASE = "12"}\n',
            "api/ops/web.Dockerfile": "ARG BASE=11\nFROM debian:${BASE}-slim\n",
        },
    )
    plan = catalog.detect(tmp_path)
    assert (plan.root, plan.context, plan.args, plan.base_images) == ("api", "api/src", {"BASE": "12"}, ("debian:12-slim",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[build]\nbundle = "flsk"', "there is no bundle 'flsk'"),
        ('[build]\nroot = "nowhere"', "there is no folder 'nowhere'"),
        ('[build]\nroot = "out"', "there is no folder 'out'"),
        ('[build]\ndockerfile = "No"', "No is not a Dockerfile"),
    ],
)
def test_settings_that_fit_nothing_are_refused(text: str, words: str, catalog: Catalog, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    tree(checkout, {"homeport.toml": text})
    os.symlink("/usr", checkout / "out")
    with pytest.raises(ConfigInvalid, match=words):
        catalog.detect(checkout)


def test_commands_cannot_leave_their_instruction(catalog: Catalog, tmp_path: Path) -> None:
    evil = 'echo "x" \\ $HOME `id` \' ; USER root'
    plan = catalog.detect(
        tree(
            tmp_path, {"app.py": APP, "homeport.toml": f"[build]\ncommand = '''{evil}'''\n[run.processes]\nweb = '''{evil}'''\n"}
        )
    )
    assert plan.dockerfile is not None
    lines = [line for line in plan.dockerfile.splitlines() if "USER root" in line]
    assert [line.split()[0] for line in lines] == ["RUN", "CMD"]
    argv = msgspec.json.decode(lines[1].removeprefix("CMD "))
    assert argv == ["/bin/sh", "-c", evil]
    assert all(not line.endswith("\\") for line in lines)


def test_hostile_names_do_not_reach_the_dockerfile(catalog: Catalog, tmp_path: Path) -> None:
    tree(tmp_path, {"app.py": APP, "requirements.txt": "flask\n", "requirements-$(id)\nUSER root.txt": "x"})
    with pytest.raises(BadInput, match="cannot stand in a Dockerfile"):
        catalog.detect(tmp_path)


def test_links_out_of_the_checkout_are_not_there(catalog: Catalog, tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", {"Dockerfile": "FROM secret\n", "requirements.txt": "flask\n", "main.py": APP})
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Dockerfile", "requirements.txt"):
        os.symlink(outside / name, checkout / name)
    os.symlink(outside, checkout / "src")
    with pytest.raises(NotRecognised, match="Found: nothing"):
        catalog.detect(checkout)


def test_detection_has_no_side_effects(catalog: Catalog, tmp_path: Path) -> None:
    tree(tmp_path, {"app.py": APP, "requirements.txt": "flask\n"})
    before = {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]}
    assert catalog.detect(tmp_path) == catalog.detect(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in [tmp_path, *tmp_path.rglob("*")]} == before


def test_every_plan_can_be_stored(catalog: Catalog) -> None:
    for name in NAMES:
        try:
            plan = catalog.detect(EXAMPLES / name)
        except NotRecognised:
            continue
        assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_bundles_of_the_operator_are_asked_with_ours(tmp_path: Path) -> None:
    own = tree(
        tmp_path / "bundles",
        {
            "shell/bundle.toml": 'name = "shell"\nlanguage = "shell"\nlooks_for = "start.sh"\nbefore = ["python"]\n'
            '[[detect]]\nfile = ["start.sh"]\n[[choose]]\nname = "start"\nvalue = "sh start.sh"\nbecause = "start.sh"\n',
            "shell/Dockerfile": "FROM debian:12-slim\nCMD {{ start | sh }}\n",
            "static/bundle.toml": 'name = "static"\nlanguage = "html"\nlooks_for = "ours"\nruntime = "static"\n',
        },
    )
    catalog = Catalog.load(own)
    plan = catalog.detect(tree(tmp_path / "checkout", {"start.sh": ""}))
    assert (plan.bundle, plan.dockerfile) == ("shell", 'FROM debian:12-slim\nCMD ["/bin/sh", "-c", "exec sh start.sh"]\n')
    assert next(bundle.looks_for for bundle in catalog.bundles if bundle.name == "static") == "ours"
