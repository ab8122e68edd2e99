"""BuildKit by the docker CLI: which CLI has it, the argument list of one build, and what its plain progress says."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from app.adapters import process
from app.errors import HomeportError, Unavailable

SYSTEM_CLI = "/usr/bin/docker"
LAST_WITH_BUILDER = 23
"""The first major version of the CLI that needs the buildx plugin to build."""
TAIL = 20


class Cli(msgspec.Struct, frozen=True):
    """A docker CLI that has BuildKit: by its buildx plugin, or built in."""

    path: str
    buildx: bool


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One build. `tag` names the image; with `output` the files of the last stage are written there instead.

    `secrets` are files by id; `args` and `labels` are no place for them. `memory` (bytes) caps it, `timeout` (seconds) ends it.
    """

    context: Path
    dockerfile: Path
    tag: str | None = None
    output: Path | None = None
    labels: dict[str, str] = {}
    args: dict[str, str] = {}
    secrets: dict[str, Path] = {}
    memory: int | None = None
    timeout: float = 1800.0


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """How a build ended. Of a failed one: the instruction, its exit code, its last lines, and the builder's words.

    `image` is set when a base image could not be had.
    """

    exit_code: int
    step: str = ""
    step_exit_code: int | None = None
    image: str = ""
    error: str = ""
    tail: tuple[str, ...] = ()
    oom: bool = False
    memory: int | None = None


def argv(cli: Cli, build: Build, cgroup_parent: str | None = None) -> list[str]:
    """The whole command line of one build."""
    words = [cli.path, "buildx", "--builder", "default", "build"] if cli.buildx else [cli.path, "build"]
    words += ["--progress", "plain", "--file", str(build.dockerfile)]
    if cli.buildx and cgroup_parent:
        words += ["--cgroup-parent", cgroup_parent]
    if build.tag:
        words += ["--tag", build.tag, *(["--load"] if cli.buildx else [])]
    if build.output:
        words += ["--output", f"type=local,dest={build.output}"]
    for option, values in (("--label", build.labels), ("--build-arg", build.args)):
        for key, value in sorted(values.items()):
            words += [option, f"{key}={value}"]
    for key, path in sorted(build.secrets.items()):
        words += ["--secret", f"id={key},src={path}"]
    return [*words, str(build.context)]


def tied(words: list[str], setpriv: str | None) -> list[str]:
    """The same command, asked to end by the kernel when this process dies: nobody would wait for the build any more."""
    return [setpriv, "--pdeathsig", "TERM", "--", *words] if setpriv else words


def env(docker_host: str) -> dict[str, str]:
    """The environment of a build: the engine that the rest of us talks to, the operator's registry logins, nothing of ours."""
    kept = ("DOCKER_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
    passed = {key: os.environ[key] for key in kept if key in os.environ}
    return {**process.base_env(), **passed, "DOCKER_HOST": docker_host, "DOCKER_BUILDKIT": "1"}


def find_cli(configured: str | None, path: str) -> Cli:
    """The first docker CLI that can build with BuildKit. Raises Unavailable, saying which were tried."""
    tried = list(candidates(configured, path))
    for candidate in tried:
        cli = _probe(candidate)
        if cli is not None:
            return cli
    raise Unavailable(
        f"No docker command here can build with BuildKit (tried: {', '.join(tried) or 'none found'}).",
        hint="Install the docker-buildx-plugin package, or name a docker command in the setting docker_cli.",
    )


def candidates(configured: str | None, path: str) -> Iterator[str]:
    """Docker commands to try, in order, each file once."""
    seen: set[str] = set()
    found = (shutil.which("docker", path=folder) for folder in path.split(os.pathsep) if folder)
    for candidate in (configured, *found, SYSTEM_CLI):
        if candidate and os.access(candidate, os.X_OK) and os.path.realpath(candidate) not in seen:
            seen.add(os.path.realpath(candidate))
            yield candidate


def _probe(candidate: str) -> Cli | None:
    try:
        if process.run([candidate, "buildx", "version"], timeout=10, check=False).exit_code == 0:
            return Cli(candidate, buildx=True)
        version = process.run([candidate, "--version"], timeout=10).stdout.decode(errors="replace")
    except HomeportError:
        return None
    match = re.search(r"version (\d+)\.", version)
    return Cli(candidate, buildx=False) if match and int(match[1]) < LAST_WITH_BUILDER else None


class Progress:
    """Reads BuildKit's plain progress: passes on what people want to see, and keeps what a failure needs.

    `#8 [3/5] RUN make` is a step's name, `#8 0.512 text` its output, `#8 ERROR: …` its end; steps run side by side.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._names: dict[str, str] = {}
        self._tails: dict[str, list[str]] = {}
        self._shown: str | None = None
        self._failed: str | None = None
        self._error = ""
        self._last_words: list[str] = []

    def feed(self, line: str) -> None:
        """One line as the builder printed it."""
        match = _STEP_LINE.match(line)
        if match is None:
            self._loose(line)
        else:
            self._of_step(match["step"], match["text"])

    def built(self, exit_code: int) -> Built:
        """What the lines amount to, once the builder has ended with `exit_code`."""
        if exit_code == 0:
            return Built(exit_code=0)
        name = self._names.get(self._failed or "", "")
        error = self._error or next(reversed(self._last_words), "")
        code = _EXIT_CODE.search(error)
        metadata = _METADATA.match(name)
        return Built(
            exit_code=exit_code,
            step="" if _hidden(name) else name,
            step_exit_code=int(code[1]) if code else None,
            image=metadata["image"] if metadata else "",
            error=error,
            tail=tuple(self._tails.get(self._failed or "", ()) or self._last_words),
        )

    def _of_step(self, step: str, text: str) -> None:
        output = _OUTPUT.match(text)
        if output:
            # A last line without its newline is run together with the end of the step.
            words, *end = re.split(rf"#{step} (?=DONE \d|ERROR: |CANCELED)", output["text"], maxsplit=1)
            self._output(step, words.rstrip("\r").rsplit("\r", 1)[-1])
            for rest in end:
                self._of_step(step, rest)
        elif text.startswith("ERROR: "):
            self._failed, self._error = step, text.removeprefix("ERROR: ")
        elif text == "CACHED":
            self._show(step)
            self._on_line("(unchanged)")
        elif text.startswith("["):
            self._names[step] = plain_step(text)
            self._show(step)

    def _output(self, step: str, text: str) -> None:
        self._tails[step] = [*self._tails.get(step, [])[1 - TAIL :], text]
        self._show(step)
        self._on_line(text)

    def _show(self, step: str) -> None:
        name = self._names.get(step, "")
        if name and self._shown != step and not _hidden(name):
            self._shown = step
            self._on_line(name)

    def _loose(self, line: str) -> None:
        text = line.strip().removeprefix("ERROR: ")
        if text and not line.startswith(("------", " > ", ">>>")):
            self._last_words = [*self._last_words[1 - TAIL :], text]


def plain_step(name: str) -> str:
    """A step's name as people mean it: without the mounts of RUN, and the command instead of the argument list that runs it."""
    bare = _MOUNTS.sub("", name)
    head, run, rest = bare.partition("RUN ")
    if not run or not rest.startswith("["):
        return bare
    try:
        argv = json.loads(rest)
    except ValueError:
        return bare
    return f"{head}RUN {_SECRETS_READ.sub('', str(argv[-1]))}" if argv[:1] == ["/bin/sh"] else bare


def _hidden(name: str) -> bool:
    return name.startswith(("[internal]", "[auth]"))


_STEP_LINE = re.compile(r"#(?P<step>\d+) (?P<text>.*)", re.DOTALL)
_OUTPUT = re.compile(r"\d+\.\d+ (?P<text>.*)", re.DOTALL)
_MOUNTS = re.compile(r"--mount=\S+ ")
_SECRETS_READ = re.compile(r"^\[ ! -f /run/secrets/homeport_env \] \|\| \{[^}]*\}; ")
"""How our Dockerfiles let a command see the build's variables."""
_EXIT_CODE = re.compile(r"exit code: (\d+)")
_METADATA = re.compile(r"\[internal\] load metadata for (?P<image>\S+)")
