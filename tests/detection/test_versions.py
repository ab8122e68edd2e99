"""Versions: how npm and Python write ranges, and which one is taken."""

from __future__ import annotations

import pytest

from app.detection.versions import Asked, Chosen, Offer, choose, satisfies

OFFER = Offer(
    name="node", image="node", default="22", known=("16", "18", "20", "22", "24"), aliases={"lts/*": "*", "lts/iron": "20"}
)


@pytest.mark.parametrize(
    ("wanted", "yes", "no"),
    [
        ("^20", "20", "21"),
        ("^20.5.0", "20", "21"),
        ("^0.3", "0.3", "0.4"),
        ("~20.5", "20.5", "20.6"),
        ("~=3.11", "3.12", "4.0"),
        ("~=3.11.2", "3.11", "3.12"),
        (">=3.10,<3.13", "3.12", "3.13"),
        (">=18 <21", "20", "22"),
        ("18 - 20", "20", "21"),
        ("18 || 20", "20", "19"),
        ("16 || >=18.17", "18", "17"),
        ("20.x", "20", "22"),
        ("==3.11.*", "3.11", "3.12"),
        (">18", "19", "18"),
        ("<=20", "20", "21"),
        ("!=3.12.*", "3.11", "3.12"),
        ("*", "99", ""),
    ],
)
def test_ranges(wanted: str, yes: str, no: str) -> None:
    assert satisfies(yes, wanted)
    assert not no or not satisfies(no, wanted)


@pytest.mark.parametrize(
    ("asked", "made", "chosen"),
    [
        ([], (), Chosen("22", "the default of the bundle")),
        ([], ("9", "20"), Chosen("20", "the newest node base image of this box (no registry)")),
        (["20.11.1"], ("18",), Chosen("20.11.1", "a")),
        (["v18"], ("20",), Chosen("18", "a")),
        (["=18.2"], (), Chosen("18.2", "a")),
        (["18.x"], ("20",), Chosen("18", "a")),
        (["lts/iron"], ("18",), Chosen("20", "a")),
        (["lts/*"], (), Chosen("22", "a (*)")),
        ([">=18"], (), Chosen("22", "a (>=18)")),
        ([">=18"], ("20",), Chosen("20", "a (>=18), and the newest of this box (no registry)")),
        ([">=21"], ("20",), Chosen("22", "a (>=21)")),
        (["<20"], (), Chosen("18", "a (<20)")),
        (["~20.11.0"], (), Chosen("20.11.0", "a (~20.11.0)")),
        ([">=30"], (), Chosen("30", "a (>=30)")),
        (["system", "18"], (), Chosen("18", "a")),
    ],
)
def test_what_is_chosen(asked: list[str], made: tuple[str, ...], chosen: Chosen) -> None:
    assert choose(OFFER, iter([Asked(text, "a") for text in asked]), {"node": made}) == chosen
