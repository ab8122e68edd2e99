"""Names and times of rows."""

from __future__ import annotations

from datetime import UTC, datetime


def new_id(kind: str) -> str:
    """`<kind>_<ULID>`: unique, and sorted by the time it was made (github.com/ulid/spec)."""
    from ulid import ULID

    return f"{kind}_{str(ULID()).lower()}"


def now() -> str:
    """This moment, RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
