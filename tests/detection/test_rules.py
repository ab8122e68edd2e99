"""Conditions and rules of bundles, asked of small checkouts."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from app.detection.bundle import Bundle, Condition, Rule
from app.detection.rules import Decisions, Facts
from app.detection.tree import Tree
from app.model import Choice


def _decisions(root: Path, *rules: Rule, **given: str) -> Decisions:
    bundle = Bundle(name="x", language="node", looks_for="x", choose=rules)
    fixed = {name: Choice(name=name, value=value, because="given") for name, value in given.items()}
    return Decisions(Facts(Tree(root)), bundle, fixed)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "package.json").write_text('{"scripts": {"start": "node a.js", "empty": ""}, "dependencies": {"dep": "1"}}')
    (tmp_path / "a.js").write_text("const port = 3000;\nserver.listen(port);\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "b.js").write_text("")
    return tmp_path


HOLDS: list[tuple[dict[str, object], dict[str, str] | None]] = [
    ({"file": ["no.js", "a.js"]}, {"file": "a.js"}),
    ({"file": ["no.js"]}, None),
    ({"file": ["*.js"], "match": r"^server\.(\w+)"}, {"file": "a.js", "1": "listen"}),
    ({"file": ["*.js"], "match": "nothing"}, None),
    ({"file": ["package.json"], "key": "scripts.start"}, {"file": "package.json", "value": "node a.js"}),
    ({"file": ["package.json"], "key": "scripts.empty"}, None),
    ({"file": ["package.json"], "key": "scripts.start", "match": r"node (\S+)"}, {"value": "node a.js", "1": "a.js"}),
    ({"file": ["package.json"], "key": "scripts.start", "match": r"node (\S+)", "exists": "{1}"}, {"1": "a.js"}),
    ({"file": ["package.json"], "key": "scripts.start", "match": r"(\S+) a", "exists": "{1}"}, None),
    ({"file": ["*/b.js"], "path": "^(.*)/b"}, {"1": "lib"}),
    ({"file": ["lib/"]}, {"file": "lib/"}),
    ({"missing": ["x", "y"]}, {}),
    ({"missing": ["x", "a.js"]}, None),
    ({"dependency": ["other", "dep"]}, {"dependency": "dep", "manifest": "package.json"}),
    ({"dependency": ["other"]}, None),
    ({"without": ["dep"]}, None),
    ({"where": {"fixed": "^yes$"}}, {}),
    ({"where": {"fixed": "^no$"}}, None),
    ({"where": {"unmade": "^$"}}, {}),
    ({"dependency": ["dep"], "also": [{"file": ["a.js"]}]}, {"dependency": "dep", "file": "a.js"}),
    ({"dependency": ["dep"], "also": [{"file": ["no.js"]}]}, None),
]


@pytest.mark.parametrize(("condition", "found"), HOLDS)
def test_conditions(condition: dict[str, object], found: dict[str, str] | None, root: Path) -> None:
    got = _decisions(root, fixed="yes").holds(msgspec.convert(condition, Condition))
    if found is None:
        assert got is None
    else:
        assert got is not None
        assert found.items() <= got.items()


def test_the_first_rule_that_holds_decides_and_says_why(root: Path) -> None:
    decisions = _decisions(
        root,
        Rule(name="start", value="never", because="x", file=("no.js",)),
        Rule(name="start", value="node {file}{flag: --%s}{none: --%s}", because="{file}, as {kind.because} says", file=("a.js",)),
        Rule(name="start", value="late", because="x"),
        Rule(name="kind", value="x", because="package.json"),
        flag="quiet",
        none="",
    )
    assert decisions.choice("start") == Choice(name="start", value="node a.js --quiet", because="a.js, as package.json says")


def test_what_is_given_needs_no_rule(root: Path) -> None:
    decisions = _decisions(root, Rule(name="start", value="rule", because="x"), start="given")
    assert decisions.value("start") == "given"
    assert decisions.names == ["start"]


def test_a_circle_of_rules_ends(root: Path) -> None:
    decisions = _decisions(
        root,
        Rule(name="a", value="a", because="x", where={"b": "b"}),
        Rule(name="b", value="b", because="x", where={"a": "a"}),
    )
    assert decisions.choice("a") is None


def test_braces_that_name_nothing_stay(root: Path) -> None:
    assert _decisions(root).fill("${PORT} {x}", {}) == "${PORT} {x}"


def test_values_with_control_characters_decide_nothing(root: Path) -> None:
    (root / "package.json").write_text('{"scripts": {"start": "a\\nUSER root"}}')
    rule = Rule(name="start", value="{value}", because="x", file=("package.json",), key="scripts.start")
    assert _decisions(root, rule).choice("start") is None


@pytest.mark.parametrize(
    ("files", "file", "module", "folder"),
    [
        ({"app.py": ""}, "app.py", "app", ""),
        ({"src/app.py": ""}, "src/app.py", "app", "src"),
        ({"src/pkg/__init__.py": "", "src/pkg/app.py": ""}, "src/pkg/app.py", "pkg.app", "src"),
        ({"pkg/__init__.py": ""}, "pkg/__init__.py", "pkg", ""),
        ({"api/main.py": "from api.db import x\n"}, "api/main.py", "api.main", ""),
        ({"api/main.py": "from .db import x\n"}, "api/main.py", "api.main", ""),
        ({"api/main.py": "import apis\n"}, "api/main.py", "main", "api"),
    ],
)
def test_where_a_python_module_is_imported_from(
    files: dict[str, str], file: str, module: str, folder: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = _decisions(tmp_path).holds(Condition(file=(file,)))
    assert found == {"file": file, "module": module, "folder": folder}
