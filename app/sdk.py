"""The client that every face of Homeport uses: resources as attributes, the same Structs and the same errors as the server.

client = Client()
for line in client.projects.index():
    ...
for kind, value in client.deployments.follow("shop", 12):
    ...
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from app.errors import ServerNotFound, Unavailable
from app.inputs import (
    Check,
    EnvChanged,
    EnvPatch,
    Health,
    NewDeployment,
    NewDomain,
    NewProject,
    NewRollback,
    NewScale,
    Page,
    ProjectLine,
    ProjectPatch,
    ProjectStatus,
    Upload,
)
from app.model import Deployment, Domain, Environment, EnvVersion, Event, Project
from app.transport import TIMEOUT, Transport, addresses, path_of

SLOW = 900.0
"""Seconds for what waits until it is carried out: scale, restart, stop, start, delete, and the answer to an upload."""
RETRIES = (0.5, 1.0, 2.0)
"""Pauses between the attempts of a request that carries an Idempotency-Key, when the server goes away under it."""

T = TypeVar("T")


class Resource:
    """What the resources share: JSON out, a Struct in, pages read to their end."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _get(self, path: str, kind: type[T], **query: Any) -> T:  # noqa: ANN401
        return msgspec.json.decode(self._transport.send("GET", path, query=query).body, type=kind)

    def _pages(self, path: str, kind: type[T], limit: int | None = None, **query: Any) -> Iterator[T]:  # noqa: ANN401
        left = limit
        while True:
            page = self._get(path, Page[kind], limit=min(left or 100, 100), **query)  # type: ignore[valid-type]
            shown: list[T] = page.items if left is None else page.items[:left]
            yield from shown
            left = None if left is None else left - len(shown)
            if page.next_cursor is None or left == 0:
                return
            query["cursor"] = page.next_cursor

    def _send(self, method: str, path: str, body: msgspec.Struct | None, kind: type[T], timeout: float = TIMEOUT) -> T:
        answer = self._transport.send(method, path, body=_json(body), headers=_JSON if body else {}, timeout=timeout)
        return msgspec.json.decode(answer.body, type=kind)

    def _once(self, path: str, body: msgspec.Struct, kind: type[T]) -> T:
        """POST that is safe to repeat, and is, when the server goes away before it has answered."""
        headers = _JSON | {"Idempotency-Key": secrets.token_hex(16)}
        for pause in (*RETRIES, None):
            try:
                return msgspec.json.decode(self._transport.send("POST", path, body=_json(body), headers=headers).body, type=kind)
            except Unavailable as error:
                if pause is None or (isinstance(error, ServerNotFound) and pause == RETRIES[0]):
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")


class Projects(Resource):
    """What the box serves."""

    def index(self) -> Iterator[ProjectLine]:
        """Every project, by name."""
        return self._pages(path_of("projects"), ProjectLine)

    def create(self, new: NewProject) -> Project:
        """A new project."""
        return self._send("POST", path_of("projects"), new, Project)

    def show(self, slug: str) -> Project:
        """One project."""
        return self._get(path_of("projects", slug), Project)

    def change(self, slug: str, patch: ProjectPatch) -> Project:
        """Change where its source comes from."""
        return self._send("PATCH", path_of("projects", slug), patch, Project)

    def remove(self, slug: str) -> None:
        """Remove it and everything that runs for it."""
        self._transport.send("DELETE", path_of("projects", slug), timeout=SLOW)

    def status(self, slug: str) -> ProjectStatus:
        """What is live, what runs, where it answers."""
        return self._get(path_of("projects", slug, "status"), ProjectStatus)

    def deploy_key(self, slug: str) -> Project:
        """Make a key for its git URL; `deploy_key` of the answer is the public half."""
        return self._send("POST", path_of("projects", slug, "deploy-key"), None, Project)

    def resume(self, slug: str) -> Project:
        """Let automatic deploys go on."""
        return self._send("POST", path_of("projects", slug, "resume"), None, Project)


class Deployments(Resource):
    """Attempts to take a commit live."""

    def index(self, slug: str, limit: int | None = None) -> Iterator[Deployment]:
        """The newest first, at most `limit`."""
        return self._pages(path_of("projects", slug, "deployments"), Deployment, limit)

    def show(self, slug: str, number: int) -> Deployment:
        """One deployment."""
        return self._get(path_of("projects", slug, "deployments", number), Deployment)

    def upload(self, slug: str, archive: Iterable[bytes], message: str | None = None, dirty: bool = False) -> Upload:
        """Send a tar archive, chunk by chunk, to be deployed as a commit."""
        headers = {"Content-Type": "application/x-tar"}
        query = {"message": message, "dirty": dirty}
        answer = self._transport.send(
            "POST", path_of("projects", slug, "uploads"), query=query, body=archive, headers=headers, timeout=SLOW
        )
        return msgspec.json.decode(answer.body, type=Upload)

    def create(self, slug: str, new: NewDeployment) -> Deployment:
        """Queue a deployment; follow it with `follow`."""
        return self._once(path_of("projects", slug, "deployments"), new, Deployment)

    def cancel(self, slug: str, number: int) -> Deployment:
        """Stop one that is not live yet."""
        return self._send("POST", path_of("projects", slug, "deployments", number, "cancel"), None, Deployment)

    def rollback(self, slug: str, new: NewRollback) -> Deployment:
        """Bring an earlier one back, as a new deployment."""
        return self._once(path_of("projects", slug, "rollback"), new, Deployment)

    def follow(self, slug: str, number: int) -> Iterator[tuple[str, str | Deployment]]:
        """("log", line), ("deployment", Deployment) and ("connection", words), until it ended and has drained."""
        for kind, data in self._transport.follow(path_of("projects", slug, "deployments", number, "follow")):
            yield kind, msgspec.json.decode(data, type=Deployment) if kind == "deployment" else data

    def log(self, slug: str, number: int) -> str:
        """The whole log."""
        return self._transport.send("GET", path_of("projects", slug, "deployments", number, "log")).body.decode(errors="replace")


class Environments(Resource):
    """How a project runs. These wait until it is carried out."""

    def scale(self, slug: str, new: NewScale) -> Environment:
        """How many of each process."""
        return self._send("POST", path_of("projects", slug, "scale"), new, Environment, SLOW)

    def restart(self, slug: str) -> Environment:
        """New copies take over from the old ones."""
        return self._send("POST", path_of("projects", slug, "restart"), None, Environment, SLOW)

    def stop(self, slug: str) -> Environment:
        """Stop serving."""
        return self._send("POST", path_of("projects", slug, "stop"), None, Environment, SLOW)

    def start(self, slug: str) -> Environment:
        """Serve again."""
        return self._send("POST", path_of("projects", slug, "start"), None, Environment, SLOW)

    def logs(self, slug: str, tail: int = 100, follow: bool = False) -> Iterator[tuple[str, str]]:
        """("log", line) of its applications, and with `follow` what comes, and ("connection", words)."""
        path = path_of("projects", slug, "logs")
        if follow:
            yield from self._transport.follow(path, {"tail": tail, "follow": True})
            return
        text = self._transport.send("GET", path, query={"tail": tail}).body.decode(errors="replace")
        yield from (("log", line) for line in text.split("\n")[:-1])


class Env(Resource):
    """Environment variables."""

    def show(self, slug: str, version: int | None = None, reveal: bool = False) -> EnvVersion:
        """The variables, masked unless `reveal`, which leaves an event."""
        return self._get(path_of("projects", slug, "env"), EnvVersion, version=version, reveal=reveal)

    def change(self, slug: str, patch: EnvPatch) -> EnvChanged:
        """A new version, and the deployment that takes it live."""
        return self._send("PATCH", path_of("projects", slug, "env"), patch, EnvChanged)


class Domains(Resource):
    """Host names."""

    def index(self, slug: str) -> Iterator[Domain]:
        """Every host name, by name."""
        return self._pages(path_of("projects", slug, "domains"), Domain)

    def add(self, slug: str, new: NewDomain) -> Domain:
        """Answer to one more."""
        return self._send("POST", path_of("projects", slug, "domains"), new, Domain)

    def remove(self, slug: str, name: str) -> None:
        """Answer to it no longer."""
        self._transport.send("DELETE", path_of("projects", slug, "domains", name))


class Events(Resource):
    """What happened on the box."""

    def index(
        self, project: str | None = None, after: int = 0, limit: int | None = None, follow: bool = False
    ) -> Iterator[Event]:
        """Events newer than id `after`, oldest first; with `follow`, without end."""
        if not follow:
            yield from self._pages(path_of("events"), Event, limit, project=project, cursor=after or None)
            return
        for kind, data in self._transport.follow(
            path_of("events"), {"project": project, "cursor": after or None, "follow": True}
        ):
            if kind == "event":
                yield msgspec.json.decode(data, type=Event)


class System(Resource):
    """The box itself."""

    def health(self) -> Health:
        """Whether the control plane is up and able to write."""
        return self._get(path_of("health"), Health)

    def doctor(self, invariants: bool = False) -> list[Check]:
        """What is not as it should be; only the invariants when they are asked for."""
        answer = self._transport.send("GET", path_of("doctor"), query={"invariants": str(invariants).lower()}, timeout=SLOW)
        return msgspec.json.decode(answer.body, type=list[Check])


class Client:
    """One control plane. `server` is an https URL or a socket path; without it, the usual places are tried on first use."""

    def __init__(
        self, server: str | None = None, *, environ: Mapping[str, str] = os.environ, transport: Transport | None = None
    ) -> None:
        self._transport = transport or Transport(addresses(server, environ))
        self.projects = Projects(self._transport)
        self.deployments = Deployments(self._transport)
        self.environments = Environments(self._transport)
        self.env = Env(self._transport)
        self.domains = Domains(self._transport)
        self.events = Events(self._transport)
        self.system = System(self._transport)

    @property
    def server(self) -> str:
        """Where requests go."""
        return self._transport.server


_JSON = {"Content-Type": "application/json"}


def _json(body: msgspec.Struct | None) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)
