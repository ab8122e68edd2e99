"""Bundles as data: how they extend each other, in which order they are asked, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.detection import bundle as bundles
from app.errors import BadInput


def _bundle(folder: Path, name: str, more: str = "") -> None:
    (folder / name).mkdir(parents=True)
    text = f'name = "{name}"\nlanguage = "x"\nlooks_for = "x"\n{more}'
    (folder / name / "bundle.toml").write_text(text)


def test_before_is_the_order_and_names_break_ties(tmp_path: Path) -> None:
    for name, more in {"c": "", "b": 'before = ["a"]', "a": "", "d": 'before = ["b", "unknown"]'}.items():
        _bundle(tmp_path, name, more)
    assert [bundle.name for bundle in bundles.load([tmp_path])] == ["c", "d", "b", "a"]


def test_a_bundle_stands_on_what_it_extends(tmp_path: Path) -> None:
    rule = '[[choose]]\nname = "start"\nvalue = "{}"\nbecause = "x"\n'
    _bundle(tmp_path, "base", 'env = { A = "1", B = "1" }\nenv_build = ["X"]\n' + rule.format("base"))
    (tmp_path / "base" / "Dockerfile").write_text("FROM base\n")
    _bundle(tmp_path, "top", 'extends = "base"\nenv = { B = "2" }\n' + rule.format("top"))
    top = next(bundle for bundle in bundles.load([tmp_path]) if bundle.name == "top")
    assert ([rule.value for rule in top.choose], top.env, top.env_build) == (["top", "base"], {"A": "1", "B": "2"}, ("X",))
    assert top.template == "FROM base\n"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("nonsense = 1", "unknown field `nonsense`"),
        ("[[detect]]\nfiles = []", "unknown field `files`"),
        ("[", "cannot be used"),
        ('extends = "nobody"', "extends nobody"),
        ('extends = "one"', "extends one"),
        ('before = ["two"]\n', "in a circle"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_named(more: str, words: str, tmp_path: Path) -> None:
    _bundle(tmp_path, "one", more)
    _bundle(tmp_path, "two", 'before = ["one"]' if "before" in more else "")
    with pytest.raises(BadInput, match=words):
        bundles.load([tmp_path])


def test_a_bundle_is_called_like_its_folder(tmp_path: Path) -> None:
    _bundle(tmp_path, "one")
    (tmp_path / "one").rename(tmp_path / "other")
    with pytest.raises(BadInput, match="calls itself one"):
        bundles.load([tmp_path])
