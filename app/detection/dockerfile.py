"""Dockerfiles: what a repository's own one says, and the text that a bundle's template makes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from app.errors import BadInput

if TYPE_CHECKING:
    from jinja2 import Template

CACHE_ID = "@CACHE_ID@"
"""Stands for the project in the ids of cache mounts; the builder fills it in, so that a plan does not depend on the project."""

_INSTRUCTION = re.compile(r"([A-Za-z]+)\s+(.*)", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?([-+])([^}]*))?\})")
_FLAG = re.compile(r"--([\w-]+)(?:=(\S+))?\s*")
_FROM = re.compile(r"(\S+)(?:\s+[Aa][Ss]\s+(\S+))?")
_MOUNT_FROM = re.compile(r"(?:^|,)from=([^,\s]+)")
_CONTINUED = re.compile(r"\\[ \t]*\r?\n(?:[ \t]*(?:#[^\n]*)?\n)*")
_SAFE = re.compile(r"[\w.@+/:-][\w.@+/: -]*", re.ASCII)
_COMPOUND = re.compile(r"[;&|<>()`\n]|^\s*(?:\w+=|exec\b|cd\b|export\b|set\b|if\b|for\b|while\b|!|\{|\.\s)")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_WITH_ENV = "[ ! -f /run/secrets/homeport_env ] || { set -a; . /run/secrets/homeport_env; set +a; }"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a Dockerfile says: the images it starts from or copies out of; port and command of the last stage."""

    base_images: tuple[str, ...]
    port: int | None
    command: str | None


class _Stage(msgspec.Struct):
    base: str
    port: int | None = None
    command: str | None = None
    env: dict[str, str] = {}


def read(text: str, args: Mapping[str, str]) -> Facts:
    """The facts of a Dockerfile, with `args` as its build arguments. Images whose name needs an unknown argument are left out."""
    variables: dict[str, str] = {}
    stages: dict[str, _Stage] = {}
    images: list[str] = []
    stage: _Stage | None = None
    for word, rest in _instructions(text):
        flags, rest = _flags(rest)
        if word == "FROM":
            match = _FROM.match(_filled(rest, variables))
            if match is None:
                continue
            stage = _started(match[1], stages)
            _note(match[1], stages, images)
            stages[(match[2] or str(len(stages))).lower()] = stage
        elif word == "ARG":
            name, _, default = rest.strip().partition("=")
            known = variables if stage is None else stage.env
            known[name] = args.get(name, _filled(default.strip("\"'"), {**variables, **known}) or variables.get(name, ""))
        elif stage is not None:
            _note_sources(word, flags, {**variables, **stage.env}, (stages, images))
            _apply(word, rest, stage)
    return Facts(
        base_images=tuple(dict.fromkeys(images)), port=stage.port if stage else None, command=stage.command if stage else None
    )


def render(template: str, values: Mapping[str, object]) -> str:
    """The Dockerfile that a bundle's template makes of `values`. Raises BadInput for a name or text that it cannot take.

    Filters: `sh` makes the exec form of a command line, `sh_env` the same with the build's variables set, `names` a JSON list of
    names that are safe in an instruction, `safe` one of them.
    """
    from jinja2 import TemplateError

    try:
        return _template(template).render(**values, cache_id=CACHE_ID)
    except TemplateError as error:
        raise BadInput(f"the bundle's Dockerfile cannot be made: {error}", hint="Correct the bundle's template.") from error


def shell_argv(command: str) -> list[str]:
    """The argument list that runs a command line inside a container.

    A plain program takes the shell's place, so that signals reach it; a list of commands cannot.
    """
    plain = not _COMPOUND.search(_QUOTED.sub("''", command))
    return ["/bin/sh", "-c", f"exec {command}" if plain else command]


@cache
def _template(text: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(sh=_sh, sh_env=_sh_env, safe=_safe, names=_names)
    return environment.from_string(text)


def _sh(command: str) -> str:
    return json.dumps(shell_argv(command), ensure_ascii=False)


def _sh_env(command: str) -> str:
    return json.dumps(["/bin/sh", "-ec", f"{_WITH_ENV}; {command}"], ensure_ascii=False)


def _names(names: list[str]) -> str:
    return json.dumps([_safe(name) for name in names])


def _safe(text: str) -> str:
    if not _SAFE.fullmatch(text) or text.startswith("-"):
        raise BadInput(f"{text!r} cannot stand in a Dockerfile", hint="Rename it, or add a Dockerfile of your own.")
    return text


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = _CONTINUED.sub(" ", "\n".join(lines))
    found = [_INSTRUCTION.match(line.strip()) for line in whole.splitlines()]
    return [(match[1].upper(), match[2]) for match in found if match]


def _flags(rest: str) -> tuple[list[tuple[str, str]], str]:
    flags: list[tuple[str, str]] = []
    while match := _FLAG.match(rest):
        flags.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    return flags, rest


def _filled(text: str, variables: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        value = variables.get(match[1] or match[2], "")
        if match[3] == "-":
            return value or match[4]
        return (match[4] if value else "") if match[3] == "+" else value

    return _VARIABLE.sub(one, text)


def _started(base: str, stages: Mapping[str, _Stage]) -> _Stage:
    parent = stages.get(base.lower())
    return _Stage(base, parent.port, parent.command, dict(parent.env)) if parent else _Stage(base, env={})


def _note(image: str, stages: Mapping[str, _Stage], images: list[str]) -> None:
    usable = re.fullmatch(r"[a-z0-9][\w./:@-]*", image) and not image.endswith((":", "/", "@"))
    if usable and image != "scratch" and image.lower() not in stages and not image.isdigit():
        images.append(image)


def _note_sources(
    word: str, flags: list[tuple[str, str]], variables: Mapping[str, str], known: tuple[Mapping[str, _Stage], list[str]]
) -> None:
    """`COPY --from=` and `RUN --mount=…,from=` may name an image, too."""
    for name, value in flags:
        mounted = _MOUNT_FROM.search(value) if word == "RUN" and name == "mount" else None
        source = value if word in ("COPY", "ADD") and name == "from" else mounted[1] if mounted else ""
        if source:
            _note(_filled(source, variables), *known)


def _apply(word: str, rest: str, stage: _Stage) -> None:
    if word == "EXPOSE" and stage.port is None:
        stage.port = _port(_filled(rest, stage.env))
    elif word == "ENV":
        stage.env.update(_pairs(rest, stage.env))
    elif word in ("CMD", "ENTRYPOINT"):
        stage.command = _shown(rest)


def _port(rest: str) -> int | None:
    for part in rest.split():
        number, _, protocol = part.partition("/")
        first = number.partition("-")[0]
        if first.isdigit() and protocol in ("", "tcp") and 0 < int(first) < 65536:
            return int(first)
    return None


def _pairs(rest: str, variables: Mapping[str, str]) -> dict[str, str]:
    quoted = re.findall(r"""(\w+)=("[^"]*"|'[^']*'|\S*)""", rest)
    if not quoted:
        name, _, value = rest.partition(" ")
        quoted = [(name, value)]
    return {name: _filled(value.strip("\"'"), variables) for name, value in quoted}


def _shown(rest: str) -> str:
    try:
        parts: Any = json.loads(rest)
    except ValueError:
        return rest.strip()
    import shlex

    return shlex.join(str(part) for part in parts) if isinstance(parts, list) else rest.strip()
