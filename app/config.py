"""homeport.toml: what a repository may say about itself, and what is refused. Sizes end as bytes, times as seconds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from app.config_errors import ConfigPath, explain, invalid
from app.config_values import BUILD_KEY, PROCESS_NAME, Command, Line, Seconds, Size, TreePath, WebPath, convert, schema
from app.detection.tree import Tree
from app.errors import ConfigInvalid
from app.model import ENV_KEY, HOST_NAME

NAME = "homeport.toml"
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0, le=100)]
Processors = Annotated[float, Meta(gt=0, le=1024)]
Percent = Annotated[int, Meta(ge=1, le=100)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables of homeport.toml."""


class Build(Section, frozen=True):
    """How the image is made."""

    bundle: Annotated[Line | None, Meta(description="The bundle to use, instead of finding one.")] = None
    dockerfile: Annotated[TreePath | None, Meta(description="The Dockerfile to build, relative to root.")] = None
    root: Annotated[TreePath | None, Meta(description="The folder of the application in the repository.")] = None
    context: Annotated[TreePath | None, Meta(description="The Dockerfile's build context, relative to root.")] = None
    install: Annotated[Command | None, Meta(description="The command that installs dependencies.")] = None
    command: Annotated[Command | None, Meta(description="The command that builds.")] = None
    output: Annotated[TreePath | None, Meta(description="The folder of built files of a site, relative to root.")] = None
    args: Annotated[dict[str, Line], Meta(description="Build arguments of the Dockerfile.")] = {}
    memory: Annotated[Size | None, Meta(description='Memory of the build, like "1g".')] = None
    timeout: Annotated[Seconds | None, Meta(description='The longest a build may take, like "20m".')] = None


class Health(Section, frozen=True):
    """How to ask the application whether it is well."""

    path: Annotated[WebPath | None, Meta(description="Must answer 200 to 399. Without it: / below 500.")] = None
    timeout: Annotated[Seconds | None, Meta(description="How long a new version may take to answer.")] = None
    interval: Annotated[Seconds | None, Meta(description="The time between two questions.")] = None


class Run(Section, frozen=True):
    """How the image is run."""

    port: Annotated[Port | None, Meta(description="The port that web listens on; also given as PORT.")] = None
    release: Annotated[Command | None, Meta(description="Run once before a new version takes traffic.")] = None
    stop_timeout: Annotated[Seconds | None, Meta(description="From SIGTERM to SIGKILL.")] = None
    memory: Annotated[Size | None, Meta(description='Memory of each copy, like "512m".')] = None
    cpu: Annotated[Processors | None, Meta(description="Processors of each copy, like 0.5.")] = None
    processes: Annotated[dict[str, Command], Meta(description="Process names and their commands.")] = {}
    health: Health = Health()


class Env(Section, frozen=True):
    """Variables. Secrets do not belong here: set them with `homeport env set`."""

    defaults: Annotated[dict[str, Line], Meta(description="Plain values; the environment's own win.")] = {}
    required: Annotated[tuple[str, ...], Meta(description="Keys that must be set before a deploy.")] = ()
    build: Annotated[tuple[str, ...], Meta(description="Keys that the build sees too; `PREFIX_*` for many.")] = ()


class AutoScale(Section, frozen=True):
    """Between how many copies, and at what use of a copy, in percent."""

    min: Count | None = None
    max: Count | None = None
    cpu: Percent | None = None
    memory: Percent | None = None


class Scale(Section, frozen=True):
    """How many copies of each process run at first; later `homeport scale` decides."""

    counts: Annotated[dict[str, Count], Meta(description="Process names and how many copies.")] = {}
    auto: AutoScale | None = None


class Redirect(Section, frozen=True):
    """One address that moved."""

    source: Annotated[WebPath, Meta(description="The old path.")] = msgspec.field(name="from")
    to: Annotated[Line, Meta(description="The new path or URL.")]
    status: Annotated[Literal[301, 302, 307, 308], Meta(description="The status of the answer.")] = 301


class Static(Section, frozen=True):
    """How files are served."""

    spa: Annotated[bool | None, Meta(description="Unknown paths answer /index.html.")] = None
    clean_urls: Annotated[bool | None, Meta(description="/about finds about.html.")] = None
    not_found: Annotated[TreePath | None, Meta(description="The page for unknown paths.")] = None
    headers: Annotated[dict[str, dict[str, Line]], Meta(description="Path patterns and their headers.")] = {}
    redirects: tuple[Redirect, ...] = ()


class DomainName(Section, frozen=True):
    """A host name of the production environment."""

    name: Annotated[str, Meta(description="The host name, like example.com.")]


class Cron(Section, frozen=True):
    """A command that runs on a schedule."""

    name: str
    schedule: Annotated[str, Meta(description="Five fields, in UTC.", pattern=r"^\S+(\s+\S+){4}$")]
    command: Command


class Volume(Section, frozen=True):
    """A folder that outlives deployments."""

    name: str
    path: Annotated[WebPath, Meta(description="Where it stands in the container.")]
    size: Size | None = None


class Service(Section, frozen=True):
    """An add-on that the application needs."""

    name: str
    bundle: Annotated[Line, Meta(description="What it is, like postgres.")]
    version: Line | None = None


class Preview(Section, frozen=True):
    """Environments for branches."""

    enabled: bool = True
    branches: tuple[Line, ...] = ()
    expire: Seconds | None = None


class Config(Section, frozen=True):
    """The whole of homeport.toml."""

    build: Build = Build()
    run: Run = Run()
    env: Env = Env()
    scale: Scale = Scale()
    static: Static = Static()
    domains: tuple[DomainName, ...] = ()
    cron: tuple[Cron, ...] = ()
    volumes: tuple[Volume, ...] = ()
    services: tuple[Service, ...] = ()
    preview: Preview | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is read but not run yet, in words."""
        parts = {
            "[[cron]]": self.cron,
            "[[volumes]]": self.volumes,
            "[[services]]": self.services,
            "[preview]": self.preview,
            "[scale.auto]": self.scale.auto,
            "[static] headers": self.static.headers,
            "[static] redirects": self.static.redirects,
            "[run] release": self.run.release,
        }
        return tuple(f"{name} is read, but this version does not run it yet" for name, value in parts.items() if value)


def load(root: Path) -> Config | None:
    """The homeport.toml of the checkout at `root`; None when it has none. Raises ConfigInvalid."""
    tree = Tree(root)
    if not tree.glob(NAME):
        return None
    text = tree.text(NAME)
    if text is None:
        raise ConfigInvalid(f"{NAME} is not a plain file of at most 1 MiB")
    return parse(text)


def parse(text: str) -> Config:
    """The text of a homeport.toml as a Config. Raises ConfigInvalid with line, key, and perhaps a suggestion."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigInvalid(f"{NAME}: {error}") from error
    shaped = _shaped(raw)
    try:
        config = msgspec.convert(shaped, Config, dec_hook=convert)
    except msgspec.ValidationError as error:
        raise explain(error, text, shaped, Config, _fails) from error
    _check_names(config, text)
    return config


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of homeport.toml, as published in docs/homeport.schema.json."""
    document = msgspec.json.schema(Config, schema_hook=schema)
    definitions = document["$defs"]
    for name, free, pattern in (("Env", "defaults", ENV_KEY.pattern), ("Scale", "counts", PROCESS_NAME.pattern)):
        table = definitions[name]
        table["additionalProperties"] = table["properties"].pop(free)["additionalProperties"]
        table["propertyNames"] = {"pattern": f"^(?:{pattern})$"}
    definitions["Run"]["properties"]["processes"]["propertyNames"] = {"pattern": f"^(?:{PROCESS_NAME.pattern})$"}
    plain = _for_toml({"$schema": SCHEMA_ID, "title": NAME, **document})
    return cast("dict[str, Any]", plain)


def _for_toml(node: object) -> object:
    """Without what TOML cannot say: null, and defaults (they are in the documentation)."""
    if isinstance(node, list):
        return [_for_toml(item) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    kept = {key: _for_toml(value) for key, value in node.items() if key != "default" or isinstance(value, bool | int | str)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and len(choices) == 1:
        del kept["anyOf"]
        kept.update(choices[0])
    if kept.get("required") == []:
        kept.pop("required")
    return kept


def _shaped(raw: dict[str, Any]) -> dict[str, Any]:
    """[env] and [scale] mix free keys with fixed ones: the free ones get a table of their own."""
    shaped = dict(raw)
    for section, free, fixed in (("env", "defaults", ("required", "build")), ("scale", "counts", ("auto",))):
        table = raw.get(section)
        if isinstance(table, dict):
            named = {key: value for key, value in table.items() if key in fixed}
            shaped[section] = {free: {key: value for key, value in table.items() if key not in fixed}, **named}
    return shaped


def _fails(shaped: object) -> bool:
    try:
        msgspec.convert(shaped, Config, dec_hook=convert)
    except msgspec.ValidationError:
        return True
    return False


def _check_names(config: Config, text: str) -> None:
    """Names of tables with free keys, which the Structs cannot check."""
    process = "a process name is lower-case letters, digits and dashes"
    variable = "a variable's name is letters, digits and underscores"
    prefix = "a variable's name, or a prefix that ends in `*`"
    rules: list[tuple[re.Pattern[str], str, list[tuple[str, ConfigPath]]]] = [
        (PROCESS_NAME, process, [(name, ("run", "processes", name)) for name in config.run.processes]),
        (PROCESS_NAME, process, [(name, ("scale", name)) for name in config.scale.counts]),
        (ENV_KEY, variable, [(key, ("env", key)) for key in config.env.defaults]),
        (ENV_KEY, variable, [(key, ("env", "required")) for key in config.env.required]),
        (BUILD_KEY, prefix, [(key, ("env", "build")) for key in config.env.build]),
        (ENV_KEY, variable, [(key, ("build", "args", key)) for key in config.build.args]),
    ]
    for pattern, words, named in rules:
        for name, path in named:
            if not pattern.fullmatch(name):
                raise invalid(text, path, f"{name!r} cannot stand here: {words}")
    for index, domain in enumerate(config.domains):
        if not HOST_NAME.fullmatch(domain.name) or "." not in domain.name:
            raise invalid(text, ("domains", index, "name"), f"{domain.name!r} is no host name like example.com")
