"""The types that handlers name their parameters with, and who is asking."""

from __future__ import annotations

import pwd
import socket
import struct
from typing import Annotated, Any

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter, SkipValidation

from app.appliance import Appliance

Box = NamedDependency[SkipValidation[Appliance]]
Actor = NamedDependency[str]
AnyRequest = Request[Any, Any, Any]
Limit = Annotated[int, QueryParameter(ge=1, le=500)]
Tail = Annotated[int, QueryParameter(ge=0, le=10_000)]
Cursor = Annotated[str | None, QueryParameter(max_length=253)]
NumberCursor = Annotated[int | None, QueryParameter(ge=0)]
LastEventId = Annotated[int | None, HeaderParameter(name="Last-Event-ID", ge=0)]
IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=255)]


def actor_of(request: AnyRequest) -> str:
    """The login of the process at the other end of the unix socket, as the kernel tells it; `owner` where it cannot tell."""
    transport = getattr(getattr(request.receive, "__self__", None), "transport", None)
    peer = transport.get_extra_info("socket") if transport else None
    if peer is None or peer.family != socket.AF_UNIX:
        return "owner"
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
