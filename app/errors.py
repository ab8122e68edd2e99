"""The errors of Homeport. Each has an HTTP status, a stable code, a title, and a hint that says what to do next.

HomeportError
├── BadInput (422)          a value that cannot be used
│   ├── SourceRefused       a repository, archive or reference that is not safe to read
│   ├── ConfigInvalid       homeport.toml, with line and key
│   └── NotRecognised       no bundle fits the repository
├── Unauthorized (401), Forbidden (403)
├── NotFound (404)
├── Conflict (409)
│   ├── AlreadyExists
│   └── EnvKeysLost         a deploy that would take env keys away
├── TooLarge (413)
├── Unavailable (503)       something we talk to does not answer
│   └── ServerNotFound      no API to talk to
├── OutOfSpace (507)        no room left on the disk
├── TimedOut (504)
├── Canceled (409)          somebody asked to stop
├── LostLease (409)         another worker took the deployment over
└── StageFailed (500)       a stage of a deploy ended badly; carries the diagnosis
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class HomeportError(Exception):
    """Base of all. `str(error)` is the cause in words; `hint` is the next step; `extra` goes into the problem document."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong in Homeport"
    default_hint: ClassVar[str] = "Look at `homeport doctor`, then try again."

    def __init__(self, cause: str, *, hint: str | None = None, **extra: Any) -> None:  # noqa: ANN401
        super().__init__(cause)
        self.cause = cause
        self.hint = hint or self.default_hint
        self.extra = extra


class BadInput(HomeportError):
    status, code, title = 422, "bad-input", "That value cannot be used"
    default_hint = "Correct the value and try again."


class SourceRefused(BadInput):
    code, title = "source-refused", "The source was refused"
    default_hint = "Remove what is named above from the source and deploy again."


class ConfigInvalid(BadInput):
    code, title = "config-invalid", "homeport.toml is not valid"
    default_hint = "Correct the line and check with `homeport validate`."


class NotRecognised(BadInput):
    code, title = "not-recognised", "No bundle recognises this repository"
    default_hint = "Add a Dockerfile, or name a bundle in homeport.toml under [build]."


class Unauthorized(HomeportError):
    status, code, title = 401, "unauthorized", "Sign in first"


class Forbidden(HomeportError):
    status, code, title = 403, "forbidden", "Not allowed"


class NotFound(HomeportError):
    status, code, title = 404, "not-found", "Not found"
    default_hint = "`homeport projects list` shows what there is."


class Conflict(HomeportError):
    status, code, title = 409, "conflict", "The current state does not allow this"
    default_hint = "Look at `homeport status` and try again."


class AlreadyExists(Conflict):
    code, title = "already-exists", "It exists already"


class EnvKeysLost(Conflict):
    code, title = "env-keys-lost", "The deploy would take env keys away"
    default_hint = "Set the keys again, or deploy with --lose-env when they should go."


class TooLarge(HomeportError):
    status, code, title = 413, "too-large", "Too large"
    default_hint = "Leave large files out with .gitignore or .dockerignore."


class Unavailable(HomeportError):
    status, code, title = 503, "unavailable", "Something Homeport needs does not answer"


class ServerNotFound(Unavailable):
    code, title = "server-not-found", "No Homeport server found"
    default_hint = "Start one with `homeportd up`, or name it with --server or HOMEPORT_SERVER."


class OutOfSpace(HomeportError):
    status, code, title = 507, "out-of-space", "The disk is full"
    default_hint = "Free some space (`docker system df`, `df -h`) and try again; nothing was changed."


class TimedOut(HomeportError):
    status, code, title = 504, "timed-out", "It took too long"


class Canceled(HomeportError):
    status, code, title = 409, "canceled", "Canceled"
    default_hint = "Deploy again when you are ready."


class LostLease(HomeportError):
    status, code, title = 409, "lost-lease", "Another worker took this deployment over"


class StageFailed(HomeportError):
    """A stage ended badly. `failure_code` names the diagnosis (e.g. `wrong-port`); `log_tail` is the evidence."""

    code, title = "stage-failed", "The deploy failed"

    def __init__(
        self,
        cause: str,
        *,
        failure_code: str,
        hint: str,
        log_tail: tuple[str, ...] = (),
        exit_code: int | None = None,
    ) -> None:
        super().__init__(cause, hint=hint, failure_code=failure_code, log_tail=log_tail, exit_code=exit_code)
        self.failure_code = failure_code
        self.log_tail = tuple(log_tail)
        self.exit_code = exit_code


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error on the wire: RFC 9457 `application/problem+json`, with our `code` and `hint`."""

    type: str
    title: str
    status: int
    detail: str
    code: str = "internal"
    hint: str = ""
    extra: dict[str, Any] = {}


def problem_of(error: HomeportError) -> Problem:
    """The document that the API answers for `error`."""
    return Problem(
        type=f"urn:homeport:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.cause,
        code=error.code,
        hint=error.hint,
        extra=error.extra,
    )


def error_of(problem: Problem) -> HomeportError:
    """The error that `problem` was made of, by its code; of the nearest class when a newer server sends an unknown one."""
    if problem.code == StageFailed.code and "failure_code" in problem.extra:
        known = {name: problem.extra[name] for name in ("failure_code", "log_tail", "exit_code") if name in problem.extra}
        return StageFailed(problem.detail, hint=problem.hint, **known)
    for kind in _tree(HomeportError):
        if kind.code == problem.code and kind is not StageFailed:
            return kind(problem.detail, hint=problem.hint, **problem.extra)
    for kind in _tree(HomeportError):
        if kind.status == problem.status and kind is not StageFailed:
            return kind(problem.detail, hint=problem.hint, **problem.extra)
    return HomeportError(problem.detail, hint=problem.hint, **problem.extra)


def _tree(kind: type[HomeportError]) -> list[type[HomeportError]]:
    # Other modules may subclass for their own use; only the ones drawn above travel.
    ours = [child for child in kind.__subclasses__() if child.__module__ == __name__]
    return [kind, *(grand for child in ours for grand in _tree(child))]
