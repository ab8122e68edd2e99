"""Why an application did not come up or a build did not end well: evidence in, one diagnosis out.

`RULES` and `BUILD_RULES` are ordered: the first rule that recognises its case wins, and the last one always does.
Rules are pure, so that every runtime can raise the same words.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from itertools import pairwise

import msgspec

from app.errors import StageFailed
from app.text import clean_line

TAIL = 20
"""Lines of evidence that a diagnosis carries."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a candidate before it was removed. Sizes in bytes, times in seconds.

    `listening` holds the (address, port) pairs that it accepts connections on; None when nobody could look.
    `start_error` is what the engine said when it could not even start it.
    """

    project: str
    process: str = "web"
    command: str | None = None
    image: str = ""
    port: int | None = None
    listening: tuple[tuple[str, int], ...] | None = None
    running: bool = False
    exit_code: int | None = None
    oom: bool = False
    memory: int | None = None
    log_tail: tuple[str, ...] = ()
    health_path: str | None = None
    health_status: int | None = None
    health_timeout: float = 60.0
    start_error: str = ""
    env_keys: frozenset[str] = frozenset()


class BuildEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a build that did not end well. `step` is the instruction that failed, `image` the base image that could
    not be had, `error` the builder's last words.
    """

    step: str = ""
    exit_code: int | None = None
    image: str = ""
    oom: bool = False
    memory: int | None = None
    log_tail: tuple[str, ...] = ()
    error: str = ""


def diagnose(evidence: Evidence) -> StageFailed:
    """The first of RULES that recognises what happened to a candidate."""
    return next(failed for rule in RULES if (failed := rule(evidence)) is not None)


def diagnose_build(evidence: BuildEvidence) -> StageFailed:
    """The first of BUILD_RULES that recognises what happened to a build."""
    return next(failed for rule in BUILD_RULES if (failed := rule(evidence)) is not None)


def mebibytes(size: int) -> str:
    """A size as people write it in homeport.toml, e.g. `512 MiB`."""
    return f"{size / (1 << 20):.0f} MiB"


def exit_words(code: int) -> str:
    """What an exit code says, in words."""
    if code in _EXIT_WORDS:
        return _EXIT_WORDS[code]
    if 128 < code < 128 + signal.NSIG:
        name = _signal_name(code - 128)
        return f"ended by signal {name}"
    return "ended with an error of its own"


_EXIT_WORDS = {
    0: "ended by itself without an error, but a server has to keep running",
    126: "the command was found but may not be executed",
    127: "the command was not found",
    134: "aborted (SIGABRT)",
    137: "killed (SIGKILL), which is what the kernel does when memory runs out",
    139: "crashed with a segmentation fault (SIGSEGV)",
    143: "asked to stop (SIGTERM)",
}

_DISK_FULL = re.compile(r"no space left on device|ENOSPC|disk quota exceeded|database or disk is full", re.IGNORECASE)
_REGISTRY_MISSING = re.compile(
    r"no such image|manifest unknown|pull access denied|repository does not exist|manifest for .* not found|"
    r"failed to resolve source metadata|failed to solve: [^ ]+: not found",
    re.IGNORECASE,
)
_REGISTRY_SILENT = re.compile(
    r"dial tcp|no such host|i/o timeout|TLS handshake|connection refused|x509|context deadline|Client\.Timeout|"
    r"does not answer|unexpected EOF",
    re.IGNORECASE,
)
_ENGINE_GONE = re.compile(
    r"cannot connect to the docker daemon|rpc error: code = unavailable|error reading from server|closing transport",
    re.IGNORECASE,
)
_NO_PROGRAM = (
    re.compile(r'exec: "(?P<program>[^"]+)"'),
    re.compile(r"\[FATAL tini \(\d+\)\] exec (?P<program>\S+) failed: No such file"),
    re.compile(r"^(?:/bin/)?(?:ba|da)?sh: (?:line )?(?:\d+: )?(?:exec: )?(?P<program>[^ :]+): (?:command )?not found"),
)
_KEY = r"[A-Z][A-Z0-9_]{2,127}"
_MISSING_ENV = tuple(
    re.compile(pattern)
    for pattern in (
        rf"KeyError: ['\"](?P<key>{_KEY})['\"]",
        rf"(?i:environment variable:?) [`'\"$]*(?P<key>{_KEY})[`'\"]* (?i:is |was |must be |not )",
        rf"(?i:missing|required|undefined|unset) (?i:required )?(?i:env(?:ironment)? ?var(?:iable)?s?):? [`'\"$]*(?P<key>{_KEY})",
        rf"[`'\"$]*(?P<key>{_KEY})[`'\"]* (?i:environment variable )?"
        r"(?i:(?:is |was )?not set|must be set|is (?:required|missing|undefined|not defined|unset)|setting must not be empty)",
        rf"(?i:set|define|provide) (?i:the )?[`'\"$]*(?P<key>{_KEY})[`'\"]* (?i:env(?:ironment)? ?var)",
        rf"(?P<key>{_KEY}) not found\. (?i:declare it as envvar)",
    )
)
_FIELD_REQUIRED = re.compile(r"^\s+Field required \[type=missing")
_WILDCARDS = ("0.0.0.0", "::")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _failed(evidence: Evidence | BuildEvidence, code: str, cause: str, hint: str) -> StageFailed:
    tail = tuple(clean_line(line) for line in evidence.log_tail[-TAIL:])
    return StageFailed(cause, failure_code=code, hint=hint, log_tail=tail, exit_code=evidence.exit_code)


def _exited(evidence: Evidence) -> bool:
    return not evidence.running and evidence.exit_code is not None


def _start_command_hint(evidence: Evidence) -> str:
    return f'Set `[run.processes] {evidence.process} = "…"` in homeport.toml, or a CMD in the Dockerfile.'


def disk_full(evidence: Evidence) -> StageFailed | None:
    """The application or the engine ran out of disk."""
    texts = (evidence.start_error, *evidence.log_tail)
    if not any(_DISK_FULL.search(text) for text in texts):
        return None
    hint = "Free some space (`docker system df`, `df -h`), then deploy again; what was live still serves."
    return _failed(evidence, "disk-full", f"The disk is full: {evidence.process} could not write.", hint)


def image_not_found(evidence: Evidence) -> StageFailed | None:
    """The engine does not have the image that should run."""
    if not re.search(r"no such image", evidence.start_error, re.IGNORECASE):
        return None
    cause = f"The image {evidence.image} is no longer on this machine."
    return _failed(evidence, "image-not-found", cause, "Deploy the commit again; it will be built anew.")


def no_start_command(evidence: Evidence) -> StageFailed | None:
    """There is nothing to run, or it names a program that the image does not have."""
    if re.search(r"no command specified", evidence.start_error, re.IGNORECASE):
        cause = f"The image says no command for {evidence.process}, and neither does homeport.toml or a Procfile."
        return _failed(evidence, "no-start-command", cause, _start_command_hint(evidence))
    program = _missing_program(evidence)
    if program is None:
        return None
    command = f" `{evidence.command}`" if evidence.command else ""
    cause = f"The start command{command} of {evidence.process} names a program that is not in the image: {program}."
    hint = f"Install {program} in the build, or correct the command: {_start_command_hint(evidence)}"
    return _failed(evidence, "no-start-command", cause, hint)


def _missing_program(evidence: Evidence) -> str | None:
    lines = (evidence.start_error, *(evidence.log_tail if evidence.exit_code == 127 else ()))
    matches = (match for line in reversed(lines) for pattern in _NO_PROGRAM if (match := pattern.search(line)))
    return next((match["program"] for match in matches), None)


def could_not_start(evidence: Evidence) -> StageFailed | None:
    """The engine refused for a reason of its own."""
    if not evidence.start_error:
        return None
    cause = f"The engine could not start {evidence.process}: {evidence.start_error}"
    return _failed(evidence, "could-not-start", cause, "Correct what the engine names above, then deploy again.")


def out_of_memory(evidence: Evidence) -> StageFailed | None:
    """The kernel killed it at its memory limit."""
    if not evidence.oom:
        return None
    limit = f" (limit {mebibytes(evidence.memory)})" if evidence.memory else ""
    larger = f"{(evidence.memory or 512 << 20) * 2 >> 20}M"
    cause = f"{evidence.process} ran out of memory{limit} and was killed."
    return _failed(evidence, "out-of-memory", cause, f'Give it more with `[run] memory = "{larger}"` in homeport.toml.')


def missing_env(evidence: Evidence) -> StageFailed | None:
    """It says in its last lines that an environment variable is not there, and it is not."""
    if evidence.running and (evidence.health_status or 0) < 500:
        return None
    key = _missing_key(evidence)
    if key is None:
        return None
    cause = f"{evidence.process} needs the environment variable {key}, which is not set."
    return _failed(evidence, "missing-env", cause, f"Set it with `homeport env set {evidence.project} {key}=…`.")


def _missing_key(evidence: Evidence) -> str | None:
    lines = evidence.log_tail[-TAIL:]
    for line in reversed(lines):
        for pattern in _MISSING_ENV:
            match = pattern.search(line)
            if match and match["key"] not in evidence.env_keys:
                return str(match["key"])
    fields = [name.strip().upper() for name, text in pairwise(lines) if _FIELD_REQUIRED.match(text)]
    return next((key for key in fields if re.fullmatch(_KEY, key) and key not in evidence.env_keys), None)


def crash_at_start(evidence: Evidence) -> StageFailed | None:
    """It ended by itself."""
    if not _exited(evidence):
        return None
    code = evidence.exit_code or 0
    cause = f"{evidence.process} ended right after its start with exit code {code}: {exit_words(code)}."
    hint = "Its last lines say why; try the same command on your machine, correct it, then deploy again."
    return _failed(evidence, "crash-at-start", cause, hint)


def bound_to_localhost(evidence: Evidence) -> StageFailed | None:
    """It listens on the right port, where only itself can reach it."""
    hosts = [host for host, port in evidence.listening or () if port == evidence.port]
    if not hosts or not all(_is_loopback(host) for host in hosts):
        return None
    cause = f"{evidence.process} listens on {hosts[0]}:{evidence.port}, which only it can reach itself."
    hint = f"Listen on 0.0.0.0 (all addresses), port {evidence.port}; $PORT has the port."
    return _failed(evidence, "bound-to-localhost", cause, hint)


def wrong_port(evidence: Evidence) -> StageFailed | None:
    """It listens, but not where it is expected."""
    ports = sorted({port for _, port in evidence.listening or ()})
    if not ports or evidence.port is None or evidence.port in ports:
        return None
    found = ", ".join(str(port) for port in ports)
    cause = f"{evidence.process} listens on port {found}, and {evidence.port} was expected."
    hint = f"Listen on 0.0.0.0 and the port that $PORT names, or set `[run] port = {ports[0]}` in homeport.toml."
    return _failed(evidence, "wrong-port", cause, hint)


def health_path_404(evidence: Evidence) -> StageFailed | None:
    """It serves, but knows nothing of the health path."""
    if evidence.health_status != 404 or evidence.health_path is None:
        return None
    cause = f"The health path {evidence.health_path} answers 404: {evidence.process} has no such page."
    hint = "Correct `[run.health] path` in homeport.toml, or leave it out to ask for / instead."
    return _failed(evidence, "health-path-404", cause, hint)


def health_path_status(evidence: Evidence) -> StageFailed | None:
    """It serves, but not well."""
    status = evidence.health_status
    if status is None:
        return None
    wanted = "200 to 399" if evidence.health_path else "below 500"
    cause = f"GET {evidence.health_path or '/'} answers {status}, and {wanted} is needed."
    hint = "The last lines may say why; the page must answer well without a login and without other services."
    return _failed(evidence, "health-path-status", cause, hint)


def no_answer(evidence: Evidence) -> StageFailed | None:
    """It accepts connections on the right port and says nothing."""
    hosts = [host for host, port in evidence.listening or () if port == evidence.port]
    if not hosts:
        return None
    waited = f"{evidence.health_timeout:g} s"
    cause = f"{evidence.process} accepts connections on port {evidence.port} but did not answer HTTP in {waited}."
    hint = "See whether it waits for something at its start, or speaks another protocol than HTTP."
    return _failed(evidence, "no-answer", cause, hint)


def never_listened(evidence: Evidence) -> StageFailed | None:
    """Nothing else is known: it runs, and nobody can talk to it."""
    cause = f"{evidence.process} runs but never listened on port {evidence.port} within {evidence.health_timeout:g} s."
    hint = "Start a server on 0.0.0.0 and $PORT, or raise `[run.health] timeout` when it needs longer to start."
    return _failed(evidence, "never-listened", cause, hint)


def _is_loopback(host: str) -> bool:
    return host not in _WILDCARDS and (host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1"))


def build_disk_full(evidence: BuildEvidence) -> StageFailed | None:
    """The build ran out of disk."""
    if not any(_DISK_FULL.search(text) for text in (evidence.error, *evidence.log_tail)):
        return None
    hint = "Free some space (`docker builder prune`, `docker system df`), then deploy again; what was live still serves."
    return _failed(evidence, "disk-full", f"The disk is full: the build could not write{_at(evidence)}.", hint)


def build_out_of_memory(evidence: BuildEvidence) -> StageFailed | None:
    """The kernel killed a step at the memory limit of builds."""
    if not evidence.oom:
        return None
    limit = f" (limit {mebibytes(evidence.memory)})" if evidence.memory else ""
    larger = f"{(evidence.memory or 1 << 30) * 2 >> 20}M"
    cause = f"The build ran out of memory{limit}{_at(evidence)}."
    return _failed(evidence, "out-of-memory", cause, f'Give it more with `[build] memory = "{larger}"` in homeport.toml.')


def engine_gone(evidence: BuildEvidence) -> StageFailed | None:
    """The engine went away while it built."""
    if evidence.exit_code is not None or not _ENGINE_GONE.search(evidence.error):
        return None
    hint = "See whether it runs (`systemctl status docker`), then deploy again; the steps that were done are kept."
    return _failed(evidence, "engine-gone", f"The Docker engine stopped during the build: {evidence.error}", hint)


def build_image_not_found(evidence: BuildEvidence) -> StageFailed | None:
    """A FROM cannot be had."""
    if evidence.exit_code is not None or not (evidence.image or _REGISTRY_MISSING.search(evidence.error)):
        return None
    name = evidence.image or "that the build starts from"
    return missing_image(name, evidence.error)


def missing_image(name: str, error: str) -> StageFailed:
    """An image that can neither be pulled nor is here. `error` is what the registry, or the way to it, said."""
    why = "no registry could be reached" if registry_silent(error) else "the registry does not have it"
    cause = f"The image {name} cannot be had, {why}: {clean_line(error)}"
    hint = "Correct the name and tag behind FROM, or name a version that this machine has."
    return StageFailed(cause, failure_code="image-not-found", hint=hint)


def registry_silent(error: str) -> bool:
    """Whether the engine's words mean that no registry answered, rather than that it refused."""
    return _REGISTRY_SILENT.search(error) is not None


def build_failed(evidence: BuildEvidence) -> StageFailed | None:
    """A step ended with an error, or the builder refused the Dockerfile."""
    if evidence.exit_code is None:
        cause = f"The image could not be built: {evidence.error or 'the builder did not say why'}"
        return _failed(evidence, "build-failed", cause, "Correct what is named above, then deploy again.")
    words = f"exit code {evidence.exit_code}"
    if evidence.exit_code in _EXIT_WORDS:
        words += f" ({_EXIT_WORDS[evidence.exit_code]})"
    cause = f"The build failed{_at(evidence)} with {words}."
    return _failed(evidence, "build-failed", cause, "The last lines above say why; correct it and deploy again.")


def _at(evidence: BuildEvidence) -> str:
    return f" in `{evidence.step}`" if evidence.step else ""


RULES: tuple[Callable[[Evidence], StageFailed | None], ...] = (
    disk_full,
    image_not_found,
    no_start_command,
    could_not_start,
    out_of_memory,
    missing_env,
    crash_at_start,
    bound_to_localhost,
    wrong_port,
    health_path_404,
    health_path_status,
    no_answer,
    never_listened,
)

BUILD_RULES: tuple[Callable[[BuildEvidence], StageFailed | None], ...] = (
    build_disk_full,
    build_out_of_memory,
    engine_gone,
    build_image_not_found,
    build_failed,
)
