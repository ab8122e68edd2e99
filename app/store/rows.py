"""Struct to row and back: scalars are columns, everything else is JSON text."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def to_row(noun: msgspec.Struct) -> dict[str, Any]:
    """Column name to value for a noun."""
    nested = _json_columns(type(noun))
    return {name: encode(getattr(noun, name), name in nested) for name in noun.__struct_fields__}


def encode(value: Any, nested: bool) -> Any:  # noqa: ANN401
    """One column's value: JSON text for what is no scalar, None stays None."""
    if nested and value is not None:
        return msgspec.json.encode(value).decode()
    return int(value) if isinstance(value, bool) else value


def changes(kind: type[msgspec.Struct], values: dict[str, Any]) -> dict[str, Any]:
    """Column name to value for some fields of a noun of `kind`."""
    nested = _json_columns(kind)
    return {name: encode(value, name in nested) for name, value in values.items()}


def from_row(kind: type[S], row: dict[str, Any]) -> S:
    """The noun that a row holds. Columns without a field of that name are left out."""
    nested = _json_columns(kind)
    values = {
        name: msgspec.json.decode(row[name]) if name in nested and row[name] is not None else row[name]
        for name in kind.__struct_fields__
        if name in row
    }
    return msgspec.convert(values, kind, strict=False)


@cache
def _json_columns(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(kind) if not _scalar(field.type))


def _scalar(kind: Any) -> bool:  # noqa: ANN401
    if get_origin(kind) in (Union, types.UnionType):
        return all(_scalar(part) for part in get_args(kind))
    return kind in (str, int, float, bool, type(None)) or get_origin(kind) is Literal
