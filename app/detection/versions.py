"""Which version of a language: a pin stays what it is, a range takes the best of what there is, silence takes the default."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

_PIN = re.compile(r"[v=]*\s*(\d+(?:\.\d+){0,2})(?:\.[xX*])*")
_COMPARATOR = re.compile(r"(\^|~=|~>|~|>=|<=|!=|===?|>|<|=)?\s*v?(\*|[xX]|\d+(?:\.(?:\d+|[xX*]))*)[^\s,|]*")
_HYPHEN = re.compile(r"(\d[\w.]*)\s+-\s+(\d[\w.]*)")
_NEWEST = 1_000_000
"""Stands for the parts that a version leaves open: "20" is the newest 20."""

Number = tuple[int, int, int]


class Asked(NamedTuple):
    """A version that the repository asks for, as written, and where."""

    text: str
    because: str


class Offer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The versions of one base image, as bundles say them: newest last in `known`."""

    name: str
    image: str
    """The base image's name, without its tag."""
    default: str
    known: tuple[str, ...]
    aliases: dict[str, str] = {}
    """Words that stand for a version or a range, e.g. "lts/*" = "*"."""


class Chosen(NamedTuple):
    """The version, and the reason in words."""

    value: str
    because: str


def choose(offer: Offer, asked: Iterator[Asked], stand_ins: Mapping[str, tuple[str, ...]]) -> Chosen:
    """The version for what is `asked`: the first that can be read decides.

    `stand_ins` holds the versions, by image, that a box without a registry makes itself. Only what is not pinned may take one.
    """
    made = sorted(stand_ins.get(offer.image, ()), key=_newest, reverse=True)
    for text, because in asked:
        wanted = offer.aliases.get(text.strip().lower(), text.strip())
        pin = _PIN.fullmatch(wanted)
        if pin:
            return Chosen(pin[1], because)
        if _readable(wanted):
            return _of_range(offer, Asked(wanted, because), made)
    if made:
        return Chosen(made[0], f"the newest {offer.image} base image of this box (no registry)")
    return Chosen(offer.default, "the default of the bundle")


def satisfies(version: str, wanted: str) -> bool:
    """Whether `version` ("20" means the newest 20) is in the range `wanted`, as npm or Python write ranges."""
    number = _newest(version)
    return any(
        all(_holds(number, operator, text) for operator, text in _comparators(part)) for part in re.split(r"\|\|?", wanted)
    )


def _of_range(offer: Offer, asked: Asked, made: list[str]) -> Chosen:
    because = f"{asked.because} ({asked.text})"
    stand_in = next((version for version in made if satisfies(version, asked.text)), None)
    if stand_in:
        return Chosen(stand_in, f"{because}, and the newest of this box (no registry)")
    if satisfies(offer.default, asked.text):
        return Chosen(offer.default, because)
    known = next((version for version in reversed(offer.known) if satisfies(version, asked.text)), None)
    return Chosen(known or next(text for _, text in _comparators(asked.text)), because)


def _readable(text: str) -> bool:
    return text in ("", "*") or any(re.match(r"\d", version) for _, version in _comparators(text))


def _comparators(text: str) -> list[tuple[str, str]]:
    spread = _HYPHEN.sub(r">=\1 <=\2", text)
    return [(operator, version) for operator, version in _COMPARATOR.findall(spread)]


def _holds(number: Number, operator: str, text: str) -> bool:
    parts = [int(part) for part in text.split(".")[:3] if part.isdigit()]
    if not parts:
        return True
    low, after = _padded(parts), _raised(parts, len(parts) - 1)
    bounds = {
        "": (low, after),
        "=": (low, after),
        "==": (low, after),
        "===": (low, after),
        ">=": (low, None),
        ">": (after, None),
        "<": (None, low),
        "<=": (None, after),
        "^": (low, _raised(parts, next((at for at, part in enumerate(parts) if part), len(parts) - 1))),
        "~": (low, _raised(parts, min(1, len(parts) - 1))),
        "~>": (low, _raised(parts, min(1, len(parts) - 1))),
        "~=": (low, _raised(parts, max(0, len(parts) - 2))),
    }
    if operator == "!=":
        return not low <= number < after
    begin, end = bounds[operator]
    return (begin is None or begin <= number) and (end is None or number < end)


def _padded(parts: list[int]) -> Number:
    major, minor, patch = [*parts, 0, 0][:3]
    return major, minor, patch


def _raised(parts: list[int], at: int) -> Number:
    return _padded([*parts[:at], parts[at] + 1])


def _newest(version: str) -> Number:
    parts = [int(part) for part in re.findall(r"\d+", version)[:3]]
    major, minor, patch = [*parts, _NEWEST, _NEWEST, _NEWEST][:3]
    return major, minor, patch
