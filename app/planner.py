"""One bundle's plan of one checkout: every decision made, and the Dockerfile rendered.

homeport.toml wins over the Procfile, that over a Dockerfile, that over what was detected.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import msgspec

from app import config as toml
from app.detection import dockerfile, procfile, versions
from app.detection.bundle import Bundle
from app.detection.rules import Decisions, Facts
from app.errors import ConfigInvalid, NotRecognised
from app.model import Choice, HealthCheck, Plan, StaticSite

DEFAULT_PORT = 8080
SHOWN_FIRST = ("bundle", "framework", "install", "build", "server", "start", "output", "port")
IMAGE_COMMAND = "the Dockerfile's command"


class Planner:
    """One bundle's plan of one checkout."""

    def __init__(self, facts: Facts, bundle: Bundle, why: str, config: toml.Config) -> None:
        self.facts = facts
        self.tree = facts.tree
        self.bundle = bundle
        self.why = why
        self.config = config
        self.procfile = procfile.read(facts.tree)
        self.own = self._own_dockerfile()
        self.decisions = Decisions(facts, bundle, self._given())

    def plan(self, stand_ins: Mapping[str, tuple[str, ...]]) -> Plan:
        """Every decision made, and the Dockerfile rendered."""
        lacking = next((words for name, words in self.bundle.require.items() if self.decisions.value(name) is None), None)
        if lacking:
            raise NotRecognised(f"{self.bundle.name} ({self.why}): {lacking}")
        version = self._version(stand_ins)
        made = {name: choice for name in self.decisions.names if (choice := self.decisions.choice(name))}
        static = self.decisions.value("runtime") == "static" or self.bundle.runtime == "static"
        text = self.own or self._rendered(version, made, static)
        start = None if static else self.decisions.value("start")
        root = str(self.config.build.root or ".")
        return self._with_config(
            Plan(
                bundle=self.bundle.name,
                language=self.bundle.language,
                framework=self.decisions.value("framework") or self.bundle.framework,
                runtime="static" if static else "docker",
                install=self.decisions.value("install"),
                build=self.decisions.value("build"),
                start=start,
                port=None if static else self._port(),
                output=self._output(text, root) if static else None,
                choices=self._choices(version, made, static),
                warnings=self._warnings(static, start),
                dockerfile=text,
                base_images=dockerfile.read(text, self.config.build.args).base_images if text else (),
                root=root,
                context=posixpath.normpath(f"{root}/{self.config.build.context or '.'}") if self.own else root,
                processes={} if static else self._processes(start),
                env_build=self.bundle.env_build,
            )
        )

    def _own_dockerfile(self) -> str | None:
        name = self.config.build.dockerfile
        if name is None and self.config.build.bundle in (None, self.bundle.name):
            name = next((file for file in self.bundle.own_dockerfile if self.tree.glob(file)), None)  # type: ignore[assignment]
        if name is None or not self.bundle.own_dockerfile:
            return None
        text = self.tree.text(name)
        if text is None or not text.strip():
            raise ConfigInvalid(f"{name} is not a Dockerfile that can be read", hint="Add it, or correct build.dockerfile.")
        return text

    def _given(self) -> dict[str, Choice]:
        """What is fixed before any rule of the bundle: homeport.toml over the Procfile over the Dockerfile."""
        build, run = self.config.build, self.config.run
        own = dockerfile.read(self.own, build.args) if self.own else None
        wanted: list[tuple[str, object, str]] = [
            ("install", build.install, "homeport.toml: build.install"),
            ("build", build.command, "homeport.toml: build.command"),
            ("output", build.output, "homeport.toml: build.output"),
            ("port", run.port, "homeport.toml: run.port"),
            ("start", run.processes.get("web"), "homeport.toml: run.processes.web"),
            ("start", self.procfile.get("web"), "Procfile: web"),
            ("start", own.command if own else None, IMAGE_COMMAND),
            ("port", own.port if own else None, "EXPOSE in the Dockerfile"),
        ]
        given: dict[str, Choice] = {}
        for name, value, because in wanted:
            if value is not None:
                given.setdefault(name, Choice(name=name, value=str(value), because=because))
        return given

    def _version(self, stand_ins: Mapping[str, tuple[str, ...]]) -> Choice | None:
        offer = self.bundle.version
        if offer is None:
            return None
        chosen = versions.choose(offer, self.decisions.asked_versions(), stand_ins)
        return Choice(name=offer.name, value=chosen.value, because=chosen.because)

    def _rendered(self, version: Choice | None, made: Mapping[str, Choice], static: bool) -> str | None:
        if self.bundle.template is None:
            return None
        held = [rule for rule in self.bundle.packages if self.decisions.holds(rule) is not None]
        values: dict[str, Any] = {name.lstrip("_"): None for name in (*SHOWN_FIRST, *self.decisions.names)}
        values |= {name.lstrip("_"): choice.value for name, choice in made.items()}
        return dockerfile.render(
            self.bundle.template,
            {
                **values,
                "static": static,
                "env": self.bundle.env,
                "port": self._port(),
                "version": version.value if version else None,
                "files": self._existing(self.bundle.copy.files),
                "folders": self._existing(self.bundle.copy.folders),
                "assets": self._existing(self.bundle.copy.assets),
                "build_packages": sorted({name for rule in held for name in rule.build}),
                "run_packages": sorted({name for rule in held for name in rule.run}),
            },
        )

    def _existing(self, patterns: tuple[str, ...]) -> list[str]:
        return sorted({file.rstrip("/") for pattern in patterns for file in self.tree.glob(pattern)})

    def _port(self) -> int:
        port = self.decisions.value("port")
        return int(port) if port and port.isdigit() and 0 < int(port) < 65536 else DEFAULT_PORT

    def _output(self, text: str | None, root: str) -> str:
        output = self.decisions.value("output") or "."
        return posixpath.normpath(f"/{output}") if text else posixpath.normpath(f"{root}/{output}")

    def _processes(self, start: str | None) -> dict[str, str | None]:
        """A Dockerfile that we made has the start command in it; the repository's own needs it when somebody overrides it."""
        overridden = bool(self.own) and self.decisions.choice("start") != self._image_command()
        others = {**self.procfile, **self.config.run.processes}
        return {
            "web": start if overridden else None,
            **{name: str(command) for name, command in others.items() if name not in ("web", "release")},
        }

    def _image_command(self) -> Choice | None:
        choice = self.decisions.choice("start")
        return choice if choice and choice.because == IMAGE_COMMAND else None

    def _choices(self, version: Choice | None, made: Mapping[str, Choice], static: bool) -> tuple[Choice, ...]:
        shown = {name: choice for name, choice in made.items() if not name.startswith("_")}
        shown["bundle"] = Choice(name="bundle", value=self.bundle.name, because=self.why)
        if version:
            shown[version.name] = version
        if static:
            shown = {name: choice for name, choice in shown.items() if name not in ("start", "port", "server")}
        elif "port" not in shown:
            shown["port"] = Choice(name="port", value=str(DEFAULT_PORT), because="the default; the application is told by PORT")
        order = [*SHOWN_FIRST[:1], *([version.name] if version else []), *SHOWN_FIRST[1:]]
        first = [shown[name] for name in order if name in shown]
        return (*first, *(choice for name, choice in shown.items() if name not in order), *self._settled())

    def _settled(self) -> list[Choice]:
        """Processes beside web, and the settings that homeport.toml makes and no bundle does."""
        run, build = self.config.run, self.config.build
        processes = {name: (command, f"Procfile: {name}") for name, command in self.procfile.items()}
        processes |= {name: (str(command), f"homeport.toml: run.processes.{name}") for name, command in run.processes.items()}
        found = [
            Choice(name=f"process {name}", value=command, because=because)
            for name, (command, because) in processes.items()
            if name not in ("web", "release")
        ]
        settings: dict[str, object] = {
            "build.root": build.root,
            "build.memory": build.memory,
            "build.timeout": build.timeout,
            "run.release": run.release,
            "run.stop_timeout": run.stop_timeout,
            "run.memory": run.memory,
            "run.cpu": run.cpu,
            "run.health.path": run.health.path,
            "run.health.timeout": run.health.timeout,
        }
        return found + [
            Choice(name=key.removeprefix("run.").replace(".", " "), value=str(value), because=f"homeport.toml: {key}")
            for key, value in settings.items()
            if value is not None
        ]

    def _warnings(self, static: bool, start: str | None) -> tuple[str, ...]:
        found = [*self.config.warnings, *self.tree.notes]
        if self.procfile.get("release") and not self.config.run.release:
            found.append("Procfile: release is read, but this version does not run it yet")
        if not static and start is None and not self.own:
            found.append(
                "no start command was found: add a Procfile with a line `web: …`, or [run.processes] web in homeport.toml"
            )
        if self.config.build.context and not self.own:
            found.append(f"[build] context is for Dockerfiles: the bundle {self.bundle.name} does not use it")
        if self.bundle.template is None and not self.own and (self.config.build.command or self.config.build.install):
            found.append(f"the bundle {self.bundle.name} serves files as they are: [build] command and install are not run")
        for rule in self.bundle.warn:
            held = self.decisions.holds(rule)
            if held is not None:
                found.append(self.decisions.fill(rule.text, held))
        return tuple(dict.fromkeys(found))

    def _with_config(self, plan: Plan) -> Plan:
        """`plan` with the settings of homeport.toml that no bundle decides."""
        build, run, env, site = self.config.build, self.config.run, self.config.env, self.config.static
        numbers = {
            "build_memory": build.memory,
            "build_timeout": build.timeout,
            "stop_timeout": run.stop_timeout,
            "memory": run.memory,
            "cpu": run.cpu,
        }
        files = {"spa": site.spa, "clean_urls": site.clean_urls, "not_found": site.not_found}
        health = {"path": run.health.path, "timeout": run.health.timeout, "interval": run.health.interval}
        return msgspec.structs.replace(
            plan,
            **_plain(numbers),
            args={key: str(value) for key, value in build.args.items()},
            release=str(run.release) if run.release else self.procfile.get("release"),
            health=HealthCheck(**_plain(health)),
            static=StaticSite(
                **_plain({"spa": self._is_spa(plan), **{key: value for key, value in files.items() if value is not None}})
            ),
            env={**plan.env, **{key: str(value) for key, value in env.defaults.items()}},
            env_required=env.required,
            env_build=tuple(dict.fromkeys((*plan.env_build, *env.build))),
            scale=dict(self.config.scale.counts),
            domains=tuple(domain.name for domain in self.config.domains),
        )

    def _is_spa(self, plan: Plan) -> bool:
        return plan.runtime == "static" and self.decisions.value("_spa") == "true"


def _plain(values: Mapping[str, object]) -> dict[str, Any]:
    """Without what was not said; numbers and text of homeport.toml's own types as plain ones, so that a plan can be stored."""
    kinds: tuple[type, ...] = (bool, int, float, str)
    return {
        key: next(kind(value) for kind in kinds if isinstance(value, kind)) for key, value in values.items() if value is not None
    }
