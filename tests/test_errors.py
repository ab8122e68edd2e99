"""Errors cross the wire whole: what the API answers becomes the same class, cause and hint on the other side."""

from __future__ import annotations

import msgspec
import pytest

from app import errors
from app.errors import Conflict, HomeportError, NotFound, Problem, StageFailed, error_of, problem_of


def tree(kind: type[HomeportError]) -> list[type[HomeportError]]:
    return [kind, *(grand for child in kind.__subclasses__() for grand in tree(child))]


KINDS = [kind for kind in tree(HomeportError) if kind.__module__ == "app.errors" and kind is not StageFailed]


def over_the_wire(error: HomeportError) -> HomeportError:
    return error_of(msgspec.json.decode(msgspec.json.encode(problem_of(error)), type=Problem))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_class_comes_back(kind: type[HomeportError]) -> None:
    error = over_the_wire(kind("the cause", hint="the next step", keys=["A"], line=3))
    assert type(error) is kind
    assert (str(error), error.cause, error.hint) == ("the cause", "the cause", "the next step")
    assert error.extra == {"keys": ["A"], "line": 3}


def test_a_failed_stage_comes_back_with_its_evidence() -> None:
    sent = StageFailed("it listens on 127.0.0.1", failure_code="loopback", hint="0.0.0.0", log_tail=("a", "b"), exit_code=1)
    error = over_the_wire(sent)
    assert isinstance(error, StageFailed)
    assert (error.cause, error.hint, error.failure_code) == (sent.cause, "0.0.0.0", "loopback")
    assert (error.log_tail, error.exit_code) == (("a", "b"), 1)


def test_a_failed_stage_of_another_version_is_still_an_error() -> None:
    for extra in ({}, {"failure_code": "new", "weather": "rain"}):
        problem = Problem(type="t", title="t", status=500, detail="cause", code="stage-failed", hint="h", extra=extra)
        error = error_of(problem)
        assert (error.cause, error.hint) == ("cause", "h")


def test_codes_are_stable_unlike_and_errors_by_status() -> None:
    kinds: list[type[HomeportError]] = [*KINDS, StageFailed]
    codes = {kind.__name__: (kind.status, kind.code) for kind in kinds}
    assert codes == {
        "HomeportError": (500, "internal"),
        "BadInput": (422, "bad-input"),
        "SourceRefused": (422, "source-refused"),
        "ConfigInvalid": (422, "config-invalid"),
        "NotRecognised": (422, "not-recognised"),
        "Unauthorized": (401, "unauthorized"),
        "Forbidden": (403, "forbidden"),
        "NotFound": (404, "not-found"),
        "Conflict": (409, "conflict"),
        "AlreadyExists": (409, "already-exists"),
        "EnvKeysLost": (409, "env-keys-lost"),
        "TooLarge": (413, "too-large"),
        "Unavailable": (503, "unavailable"),
        "ServerNotFound": (503, "server-not-found"),
        "OutOfSpace": (507, "out-of-space"),
        "TimedOut": (504, "timed-out"),
        "Canceled": (409, "canceled"),
        "LostLease": (409, "lost-lease"),
        "StageFailed": (500, "stage-failed"),
    }
    assert len({code for _, code in codes.values()}) == len(codes)


def test_the_drawing_names_every_class_with_its_status() -> None:
    assert errors.__doc__ is not None
    for kind in [*KINDS, StageFailed]:
        assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize(("status", "kind"), [(409, Conflict), (404, NotFound), (418, HomeportError), (500, HomeportError)])
def test_an_unknown_code_is_the_nearest_class(status: int, kind: type[HomeportError]) -> None:
    error = error_of(Problem(type="t", title="t", status=status, detail="cause", code="from-the-future"))
    assert type(error) is kind
    assert error.cause == "cause"
    assert error.hint


def test_the_document_is_a_problem() -> None:
    problem = problem_of(NotFound("no project 'x'", near="y"))
    assert msgspec.to_builtins(problem) == {
        "type": "urn:homeport:problem:not-found",
        "title": "Not found",
        "status": 404,
        "detail": "no project 'x'",
        "code": "not-found",
        "hint": "`homeport projects list` shows what there is.",
        "extra": {"near": "y"},
    }


def test_every_class_has_a_next_step() -> None:
    for kind in KINDS:
        assert kind("cause").hint.strip()
