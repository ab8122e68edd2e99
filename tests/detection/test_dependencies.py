"""Which packages a repository names, and in which file."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.detection import dependencies
from app.detection.tree import Tree

CASES: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "a list": (
        "python",
        {"requirements.txt": "# x\nFlask==3 # y\nruamel.yaml>=1; python_version<'4'\n--index-url x\n-e .\nuvicorn[standard]\n"},
        dict.fromkeys(["flask", "ruamel-yaml", "uvicorn", "uvicorn[standard]"], "requirements.txt"),
    ),
    "lists in lists": (
        "python",
        {"requirements.txt": "-r a/b.txt\n", "a/b.txt": "--requirement ../requirements.txt\n-r ../../out.txt\ndjango\n"},
        {"django": "a/b.txt"},
    ),
    "addresses": (
        "python",
        {
            "requirements.txt": "git+https://host.example/x/My_App.git@main\nhttps://host.example/z.zip#egg=zed\nname @ https://host.example/q\n"
        },
        dict.fromkeys(["my-app", "zed", "name"], "requirements.txt"),
    ),
    "pep 621": (
        "python",
        {"pyproject.toml": '[project]\ndependencies = ["a>1", "b[c]"]\n'},
        dict.fromkeys(["a", "b", "b[c]"], "pyproject.toml"),
    ),
    "poetry": (
        "python",
        {"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3"\nx = {version = "1", extras = ["y"]}\n'},
        dict.fromkeys(["python", "x", "x[y]"], "pyproject.toml"),
    ),
    "pipfile": ("python", {"Pipfile": '[packages]\nX = "*"\n[dev-packages]\ny = "*"\n'}, {"x": "Pipfile"}),
    "setup.py": ("python", {"setup.py": "setup(install_requires=[\n 'a>=1',\n \"b\",\n])"}, {"a": "setup.py", "b": "setup.py"}),
    "node": (
        "node",
        {"package.json": '{"dependencies": {"@a/b": "1"}, "devDependencies": {"c": "1"}, "peerDependencies": {"d": "1"}}'},
        {"@a/b": "package.json", "c": "package.json"},
    ),
    "broken node": ("node", {"package.json": '{"dependencies": ["x"]}'}, {}),
    "go": (
        "go",
        {"go.mod": "module x\nrequire github.com/a/b v1.2\nrequire (\n\tgopkg.in/c.v1 v1.0 // indirect\n)\n"},
        {"github.com/a/b": "go.mod", "gopkg.in/c.v1": "go.mod"},
    ),
    "another language": ("html", {"package.json": '{"dependencies": {"x": "1"}}'}, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_dependencies(name: str, tmp_path: Path) -> None:
    language, files, expected = CASES[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert dependencies.of(Tree(tmp_path), language) == expected
