"""Cursor pagination over lists that the verbs return whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from app.inputs import Page

T = TypeVar("T")


def page(items: Sequence[T], limit: int, cursor: str | None, key: Callable[[T], str]) -> Page[T]:
    """The `limit` items that follow the one whose key is `cursor`. `items` are in the order of their keys."""
    rest = [item for item in items if cursor is None or key(item) > cursor]
    return cut(rest, limit, key)


def cut(items: Sequence[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """The first `limit` of `items`, which were read with one more than that: its presence says that there is a next page."""
    shown = list(items[:limit])
    return Page(items=shown, next_cursor=key(shown[-1]) if len(items) > limit and shown else None)
