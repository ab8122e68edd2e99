"""Every error leaves as RFC 9457 problem+json: ours, Litestar's own, and what nobody foresaw."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException, ValidationException

from app.api.markers import AnyRequest
from app.errors import BadInput, HomeportError, NotFound, Problem, TooLarge, problem_of

MEDIA_TYPE = "application/problem+json"
LOG = logging.getLogger("homeport.api")
KNOWN = {404: NotFound, 413: TooLarge, 400: BadInput}
"""Statuses of the framework that have a class of ours, so that the SDK raises that class."""


def of_homeport(_: AnyRequest, error: HomeportError) -> Response[Problem]:
    """One of ours: it says everything itself."""
    return _answer(problem_of(error))


def of_validation(_: AnyRequest, error: ValidationException) -> Response[Problem]:
    """A value of the wrong shape: 422, with the path of each field in `extra.errors`."""
    entries = error.extra if isinstance(error.extra, list) else []
    fields: list[dict[str, Any]] = [entry for entry in entries if isinstance(entry, dict)]
    errors = [{"pointer": _pointer(field), "message": str(field.get("message", ""))} for field in fields]
    said = "; ".join(f"{entry['pointer'][1:] or 'body'}: {entry['message']}" for entry in errors)
    return _answer(problem_of(BadInput(said or error.detail, errors=errors)))


def of_framework(request: AnyRequest, error: HTTPException) -> Response[Problem]:
    """A refusal of the framework: no such route, method not allowed, body too large, malformed JSON."""
    status = error.status_code
    if status >= 500:
        return of_unforeseen(request, error)
    phrase = HTTPStatus(status).phrase
    kind = KNOWN.get(status)
    code = kind.code if kind else phrase.lower().replace(" ", "-")
    problem = Problem(
        type=f"urn:homeport:problem:{code}",
        title=kind.title if kind else phrase,
        status=status,
        detail=f"{request.method} {request.url.path}: {error.detail or phrase}",
        code=code,
        hint="The routes and what they take are listed at /schema/openapi.json.",
    )
    return _answer(problem, {key: value for key, value in (error.headers or {}).items() if key.lower() == "allow"})


def of_unforeseen(request: AnyRequest, error: Exception) -> Response[Problem]:
    """A fault of ours: the traceback goes to the server's log, the caller learns only that."""
    LOG.error("%s %r failed", request.method, request.url.path, exc_info=error)
    return _answer(unforeseen())


def unforeseen() -> Problem:
    """What the caller learns of a fault of ours."""
    said = "an unexpected error; its details are in the server's log"
    return problem_of(HomeportError(said, hint="Look at the log of homeportd."))


def _pointer(field: dict[str, Any]) -> str:
    key = str(field.get("key", ""))
    return "" if key in ("", "data") else "/" + key.replace(".", "/")


def _answer(problem: Problem, headers: dict[str, str] | None = None) -> Response[Problem]:
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers or {})


HANDLERS: dict[int | type[Exception], Any] = {
    HomeportError: of_homeport,
    ValidationException: of_validation,
    HTTPException: of_framework,
    Exception: of_unforeseen,
}
