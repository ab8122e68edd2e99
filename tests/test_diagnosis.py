"""Every rule of diagnosis: the case it is for, the next case that it must leave alone, and what it tells people to do."""

from __future__ import annotations

from typing import Any

import pytest

from app.diagnosis import BuildEvidence, Evidence, diagnose, diagnose_build, exit_words, missing_image

UP: dict[str, Any] = {"project": "shop", "port": 8080, "running": True}
DOWN: dict[str, Any] = {"project": "shop", "port": 8080, "running": False}


def test_wrong_port_names_both_ports_and_both_ways_out() -> None:
    failed = diagnose(Evidence(**UP, listening=(("0.0.0.0", 3000),)))
    assert failed.failure_code == "wrong-port"
    assert failed.cause == "web listens on port 3000, and 8080 was expected."
    assert failed.hint == ("Listen on 0.0.0.0 and the port that $PORT names, or set `[run] port = 3000` in homeport.toml.")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_bound_to_localhost(host: str) -> None:
    failed = diagnose(Evidence(**UP, listening=((host, 8080), ("0.0.0.0", 9000))))
    assert failed.failure_code == "bound-to-localhost"
    assert failed.cause == f"web listens on {host}:8080, which only it can reach itself."


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.83.0.2"])
def test_an_open_port_that_says_nothing_is_no_answer(host: str) -> None:
    failed = diagnose(Evidence(**UP, listening=((host, 8080), ("127.0.0.1", 8080)), health_timeout=5))
    assert failed.failure_code == "no-answer"
    assert failed.cause == "web accepts connections on port 8080 but did not answer HTTP in 5 s."


@pytest.mark.parametrize("listening", [(), None])
def test_never_listened(listening: tuple[tuple[str, int], ...] | None) -> None:
    failed = diagnose(Evidence(**UP, listening=listening, health_timeout=7.5))
    assert failed.failure_code == "never-listened"
    assert failed.cause == "web runs but never listened on port 8080 within 7.5 s."


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended by itself without an error, but a server has to keep running"),
        (1, "ended with an error of its own"),
        (126, "the command was found but may not be executed"),
        (127, "the command was not found"),
        (137, "killed (SIGKILL), which is what the kernel does when memory runs out"),
        (139, "crashed with a segmentation fault (SIGSEGV)"),
        (143, "asked to stop (SIGTERM)"),
        (129, "ended by signal SIGHUP"),
        (255, "ended with an error of its own"),
    ],
)
def test_crash_at_start_says_what_the_exit_code_means(code: int, words: str) -> None:
    failed = diagnose(Evidence(**DOWN, exit_code=code, log_tail=("one", "boom")))
    assert (failed.failure_code, failed.exit_code) == ("crash-at-start", code)
    assert failed.cause == f"web ended right after its start with exit code {code}: {words}."
    assert failed.log_tail == ("one", "boom")
    assert exit_words(code) == words


def test_evidence_is_the_last_twenty_lines_without_escape_sequences() -> None:
    lines = tuple(f"\x1b[31mline {n}\x1b[0m" for n in range(30))
    assert diagnose(Evidence(**DOWN, exit_code=1, log_tail=lines)).log_tail == tuple(f"line {n}" for n in range(10, 30))


def test_out_of_memory_names_the_limit_and_a_larger_one() -> None:
    failed = diagnose(Evidence(**DOWN, exit_code=137, oom=True, memory=64 << 20))
    assert failed.failure_code == "out-of-memory"
    assert failed.cause == "web ran out of memory (limit 64 MiB) and was killed."
    assert failed.hint == 'Give it more with `[run] memory = "128M"` in homeport.toml.'


@pytest.mark.parametrize(
    "line",
    [
        "KeyError: 'DATABASE_URL'",
        "RuntimeError: DATABASE_URL is not set",
        "Error: Missing required environment variable: DATABASE_URL",
        "panic: environment variable DATABASE_URL not set",
        'env: required environment variable "DATABASE_URL" is not set',
        "Error: Environment variable $DATABASE_URL must be set",
        "Please set the DATABASE_URL environment variable",
        "decouple.UndefinedValueError: DATABASE_URL not found. Declare it as envvar or define a default value.",
        "django.core.exceptions.ImproperlyConfigured: The DATABASE_URL setting must not be empty.",
        "sh: 1: DATABASE_URL: parameter not set\nError: DATABASE_URL is required",
    ],
)
def test_missing_env_names_the_key_and_the_command(line: str) -> None:
    tail = ("Traceback (most recent call last):", *line.split("\n"))
    failed = diagnose(Evidence(**DOWN, exit_code=1, log_tail=tail))
    assert failed.failure_code == "missing-env"
    assert failed.cause == "web needs the environment variable DATABASE_URL, which is not set."
    assert failed.hint == "Set it with `homeport env set shop DATABASE_URL=…`."


def test_missing_env_reads_the_two_lines_of_pydantic() -> None:
    tail = ("1 validation error for Settings", "database_url", "  Field required [type=missing, input_value={}]")
    failed = diagnose(Evidence(**DOWN, exit_code=1, log_tail=tail))
    assert (failed.failure_code, "DATABASE_URL" in failed.cause) == ("missing-env", True)


def test_a_key_that_is_set_is_not_missing() -> None:
    evidence = Evidence(**DOWN, exit_code=1, log_tail=("KeyError: 'TOKEN'",), env_keys=frozenset({"TOKEN"}))
    assert diagnose(evidence).failure_code == "crash-at-start"


def test_a_lower_case_key_error_is_no_variable() -> None:
    assert diagnose(Evidence(**DOWN, exit_code=1, log_tail=("KeyError: 'name'",))).failure_code == "crash-at-start"


def test_missing_env_is_also_seen_behind_a_page_that_answers_500() -> None:
    evidence = Evidence(**UP, health_status=500, log_tail=("KeyError: 'API_KEY'",))
    assert diagnose(evidence).failure_code == "missing-env"


def test_health_path_404() -> None:
    failed = diagnose(Evidence(**UP, listening=(("0.0.0.0", 8080),), health_path="/up", health_status=404))
    assert failed.failure_code == "health-path-404"
    assert failed.cause == "The health path /up answers 404: web has no such page."


@pytest.mark.parametrize(
    ("path", "status", "cause"),
    [
        ("/up", 401, "GET /up answers 401, and 200 to 399 is needed."),
        ("/up", 503, "GET /up answers 503, and 200 to 399 is needed."),
        (None, 502, "GET / answers 502, and below 500 is needed."),
    ],
)
def test_health_path_status(path: str | None, status: int, cause: str) -> None:
    failed = diagnose(Evidence(**UP, listening=(("0.0.0.0", 8080),), health_path=path, health_status=status))
    assert (failed.failure_code, failed.cause) == ("health-path-status", cause)


@pytest.mark.parametrize(
    ("evidence", "program"),
    [
        ({"exit_code": 127, "log_tail": ("/bin/sh: 1: gunicorn: not found",)}, "gunicorn"),
        ({"exit_code": 127, "log_tail": ("sh: gunicorn: not found",)}, "gunicorn"),
        ({"exit_code": 127, "log_tail": ("bash: line 1: gunicorn: command not found",)}, "gunicorn"),
        ({"exit_code": 127, "log_tail": ("[FATAL tini (7)] exec gunicorn failed: No such file or directory",)}, "gunicorn"),
        (
            {"start_error": 'OCI runtime create failed: exec: "gunicorn": executable file not found in $PATH: unknown'},
            "gunicorn",
        ),
    ],
)
def test_no_start_command_names_the_program(evidence: dict[str, Any], program: str) -> None:
    failed = diagnose(Evidence(**DOWN, **evidence, command="gunicorn app:app"))
    assert failed.failure_code == "no-start-command"
    assert failed.cause == (f"The start command `gunicorn app:app` of web names a program that is not in the image: {program}.")


def test_no_start_command_when_there_is_none_at_all() -> None:
    failed = diagnose(Evidence(**DOWN, start_error="No command specified"))
    assert failed.failure_code == "no-start-command"
    assert failed.hint == 'Set `[run.processes] web = "…"` in homeport.toml, or a CMD in the Dockerfile.'


def test_a_program_that_a_script_misses_is_no_start_command_of_ours() -> None:
    tail = ("/app/run.sh: 3: jq: not found",)
    assert diagnose(Evidence(**DOWN, exit_code=1, log_tail=tail)).failure_code == "crash-at-start"


def test_image_not_found_at_start() -> None:
    failed = diagnose(Evidence(**DOWN, image="hp-shop:1", start_error="No such image: hp-shop:1"))
    assert (failed.failure_code, failed.cause) == ("image-not-found", "The image hp-shop:1 is no longer on this machine.")


def test_what_the_engine_refuses_is_told_in_its_words() -> None:
    failed = diagnose(Evidence(**DOWN, start_error="device or resource busy"))
    assert (failed.failure_code, failed.cause) == ("could-not-start", "The engine could not start web: device or resource busy")


@pytest.mark.parametrize("line", ["OSError: [Errno 28] No space left on device: '/tmp/x'", "Error: ENOSPC: write"])
def test_disk_full(line: str) -> None:
    assert diagnose(Evidence(**DOWN, exit_code=1, log_tail=(line,))).failure_code == "disk-full"


# builds


def test_build_failed_has_the_step_the_code_and_the_lines() -> None:
    failed = diagnose_build(BuildEvidence(step="[3/5] RUN make", exit_code=2, log_tail=("cc: error",), error="exit code: 2"))
    assert failed.failure_code == "build-failed"
    assert failed.cause == "The build failed in `[3/5] RUN make` with exit code 2."
    assert (failed.exit_code, failed.log_tail) == (2, ("cc: error",))


def test_build_failed_without_a_step_tells_what_the_builder_said() -> None:
    failed = diagnose_build(BuildEvidence(error="dockerfile parse error line 2: unknown instruction: FORM"))
    assert failed.cause == "The image could not be built: dockerfile parse error line 2: unknown instruction: FORM"


def test_build_out_of_memory() -> None:
    failed = diagnose_build(BuildEvidence(step="[2/2] RUN npm run build", exit_code=137, oom=True, memory=100 << 20))
    assert failed.failure_code == "out-of-memory"
    assert failed.cause == "The build ran out of memory (limit 100 MiB) in `[2/2] RUN npm run build`."
    assert failed.hint == 'Give it more with `[build] memory = "200M"` in homeport.toml.'


def test_build_killed_without_pressure_is_no_out_of_memory() -> None:
    failed = diagnose_build(BuildEvidence(step="[2/2] RUN x", exit_code=137))
    assert failed.failure_code == "build-failed"
    assert "exit code 137 (killed (SIGKILL)" in failed.cause


def test_build_disk_full() -> None:
    evidence = BuildEvidence(step="[2/2] RUN dd", exit_code=1, log_tail=("dd: error writing 'x': No space left on device",))
    assert diagnose_build(evidence).failure_code == "disk-full"


@pytest.mark.parametrize(
    "error",
    [
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        "failed to solve: rpc error: code = Unavailable desc = error reading from server: EOF",
    ],
)
def test_an_engine_that_stopped_during_the_build(error: str) -> None:
    failed = diagnose_build(BuildEvidence(error=error))
    assert (failed.failure_code, error in failed.cause) == ("engine-gone", True)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ('failed to do request: Head "https://x/v2/": dial tcp: lookup x: no such host', "no registry could be reached"),
        ("docker.io/library/python:9: not found", "the registry does not have it"),
    ],
)
def test_build_image_not_found_says_whose_fault_it_is(error: str, why: str) -> None:
    failed = diagnose_build(BuildEvidence(image="docker.io/library/python:9", error=error))
    assert failed.failure_code == "image-not-found"
    assert failed.cause == f"The image docker.io/library/python:9 cannot be had, {why}: {error}"
    assert missing_image("docker.io/library/python:9", error).cause == failed.cause
