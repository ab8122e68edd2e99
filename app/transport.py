"""How the SDK reaches a control plane: finding it, and HTTP over its unix socket or https, with the standard library alone.

Short commands must start at once, so nothing here is asynchronous and nothing heavy is imported.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from app.errors import (
    BadInput,
    Forbidden,
    HomeportError,
    Problem,
    ServerNotFound,
    TimedOut,
    Unavailable,
    error_of,
)
from app.settings import default_data, socket_folder

SYSTEM_SOCKET = "/run/homeport/api.sock"
TIMEOUT = 30.0
SILENCE = 45.0
"""A stream is pinged every 15 s; after this long without a byte it is dead."""
PATIENCE = 60.0
"""How long a stream waits for a control plane that went away, before it gives up."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
CHUNK = 1 << 16


class Address(msgspec.Struct, frozen=True):
    """Where a control plane may be: the path of a unix socket, or a URL; and who said so."""

    where: str
    origin: str

    @property
    def is_socket(self) -> bool:
        return not self.where.startswith(("http://", "https://"))


def addresses(server: str | None, environ: Mapping[str, str]) -> tuple[Address, ...]:
    """Where to look, in order. What somebody named is the only candidate; otherwise the usual sockets are.

    Raises BadInput for a URL that would carry requests in the clear over a network, and for an unreadable user's config.
    """
    if server:
        return (_address(server, "--server"),)
    if named := environ.get("HOMEPORT_SERVER"):
        return (_address(named, "HOMEPORT_SERVER"),)
    if data := environ.get("HOMEPORT_DATA"):
        return (Address(str(socket_folder(Path(data)) / "api.sock"), "HOMEPORT_DATA"),)
    config = (
        Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")).expanduser() / ".config") / "homeport/config.toml"
    )
    if config.exists() and (named := _configured(config)):
        return (_address(named, str(config)),)
    own = socket_folder(default_data()) / "api.sock"
    return (Address(SYSTEM_SOCKET, "of the system"), Address(str(own), "of the default data folder"))


def _address(text: str, origin: str) -> Address:
    if text.startswith(("http://", "https://")):
        parts = urlsplit(text)
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise BadInput(f"{origin}: {text} is not encrypted.", hint="Use https://, or a socket path on the box itself.")
        return Address(text.rstrip("/"), origin)
    return Address(str(Path(text.removeprefix("unix://")).expanduser()), origin)


def _configured(path: Path) -> str | None:
    import tomllib

    try:
        values = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}", hint='Its only key is server = "https://…" or a socket path.') from error
    unknown = sorted(values.keys() - {"server"})
    if unknown or not isinstance(values.get("server", ""), str):
        raise BadInput(f"{path}: {', '.join(unknown) or 'server'} is not understood.", hint='Its only key is server = "…".')
    return values.get("server")


class Answer(msgspec.Struct, frozen=True):
    """A whole response that is no error."""

    status: int
    headers: dict[str, str]
    body: bytes


class Refused(Exception):
    """The server ended a stream with a problem: no reason to ask again, whatever its class."""

    def __init__(self, error: HomeportError) -> None:
        super().__init__(error.cause)
        self.error = error


class Outage:
    """How long a stream has been without its server, and whether there is hope still."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self.at_first = True
        """Nothing has been heard yet: a server that is not there was never there."""

    def over(self) -> bool:
        """Something was heard. Whether that ends an outage."""
        ended, self._since, self.at_first = self._since is not None, None, False
        return ended

    def begins(self) -> bool:
        """The stream broke. Whether this is the first time since something was heard."""
        first = self._since is None
        if first:
            self._since = self._clock()
        return first

    def wait(self, lost: HomeportError) -> None:
        """A pause before the next attempt. Raises `lost` after PATIENCE."""
        if self._since is not None and self._clock() - self._since > PATIENCE:
            raise lost
        time.sleep(0.25)


class Transport:
    """One control plane: a connection per request, over the first of `candidates` that accepts one."""

    def __init__(self, candidates: tuple[Address, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._candidates = candidates
        self._clock = clock

    @property
    def server(self) -> str:
        """Where requests go: the address that answered last; before that, the first that could."""
        able = (address.where for address in self._candidates if not address.is_socket or Path(address.where).exists())
        return next(able, self._candidates[0].where)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
    ) -> Answer:
        """One request and its answer. Raises the error that the problem document of a refusal names.

        Raises ServerNotFound, TimedOut, Unavailable when the server cannot be reached, is too slow, or goes away.
        """
        connection = self._connect(timeout)
        try:
            with _translated(timeout):
                response = _ask(connection, method, _target(path, query), body, headers or {})
                answer = Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
        if answer.status >= 400:
            raise refusal(answer)
        return answer

    def follow(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[tuple[str, str]]:
        """The events (kind, data) of a stream until its end. A stream that is cut off is taken up where it was.

        ("connection", words) says that the server went away, and that it is back. Raises Unavailable after PATIENCE.
        """
        last: str | None = None
        outage = Outage(self._clock)
        while True:
            lost: HomeportError = Unavailable("The server ended the stream in the middle.")
            try:
                for kind, data, number in self._stream(path, query, last):
                    if outage.over():
                        yield "connection", "The server is back."
                    last = number or last
                    if kind == "end":
                        return
                    if kind != "ping":
                        yield kind, data
            except Refused as refused:
                raise refused.error from None
            except (Unavailable, TimedOut) as error:
                if outage.at_first and isinstance(error, ServerNotFound):
                    raise
                lost = error
            if outage.begins():
                yield "connection", f"The server went away; trying for {PATIENCE:.0f} s to reach it again."
            outage.wait(lost)

    def _stream(self, path: str, query: Mapping[str, Any] | None, last: str | None) -> Iterator[tuple[str, str, str | None]]:
        connection = self._connect(SILENCE)
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last is not None else {})
        try:
            with _translated(SILENCE):
                response = _ask(connection, "GET", _target(path, query), None, headers)
                if response.status >= 400:
                    raise Refused(refusal(Answer(response.status, dict(response.getheaders()), response.read())))
                for kind, data, number in events(iter(lambda: response.read1(CHUNK), b"")):
                    if kind == "problem":
                        raise Refused(error_of(msgspec.json.decode(data, type=Problem)))
                    yield kind, data, number
        finally:
            connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        tried: list[str] = []
        for address in self._candidates:
            connection = _connection(address, timeout)
            try:
                connection.connect()
            except PermissionError as error:
                raise Forbidden(
                    f"{address.where} may not be opened by this user.", hint="Join the group homeport, or use sudo."
                ) from error
            except OSError as error:
                tried.append(f"{address.where} ({address.origin}: {_reason(error)})")
                continue
            self._candidates = (address, *(other for other in self._candidates if other != address))
            return connection
        raise ServerNotFound(f"No Homeport server answers. Tried {', '.join(tried)}.")


def events(chunks: Iterable[bytes]) -> Iterator[tuple[str, str, str | None]]:
    """(kind, data, id) of each event of an event stream; ("ping", "", None) for each comment."""
    rest = b""
    for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            yield _event(block.decode(errors="replace"))


def _event(block: str) -> tuple[str, str, str | None]:
    kind, number, data = "message", None, []
    if block.startswith(":"):
        return "ping", "", None
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            number = value
        elif name == "data":
            data.append(value)
    return kind, "\n".join(data), number


def refusal(answer: Answer) -> HomeportError:
    """The error that an answer of 400 or more stands for: of its problem document, or of its status when it has none."""
    try:
        return error_of(msgspec.json.decode(answer.body, type=Problem))
    except msgspec.MsgspecError:
        text = answer.body[:200].decode(errors="replace")
        return Unavailable(f"The server answered {answer.status}: {text}", hint="Is this address a Homeport server?")


def path_of(*parts: str | int) -> str:
    """`/v1/…` with each part quoted. Raises BadInput for a name that would turn it into another path, quoted or not."""
    for part in parts:
        if part in ("", ".", "..") or "/" in str(part):
            raise BadInput(f"{part!r} is no name", hint="Names have no slash in them.")
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def _target(path: str, query: Mapping[str, Any] | None) -> str:
    given = {key: _text(value) for key, value in (query or {}).items() if value is not None and value is not False}
    return f"{path}?{urlencode(given)}" if given else path


def _text(value: object) -> str:
    return "true" if value is True else str(value)


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] | None,
    headers: Mapping[str, str],
) -> http.client.HTTPResponse:
    chunked = body is not None and not isinstance(body, bytes)
    try:
        connection.request(method, target, body, dict(headers), encode_chunked=chunked)
    except (BrokenPipeError, ConnectionResetError):
        # The server may have answered (too large, not found) before it had read everything: that answer says why.
        if not chunked:
            raise
    return connection.getresponse()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("homeport", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except BaseException:
            self.sock.close()
            raise


def _connection(address: Address, timeout: float) -> http.client.HTTPConnection:
    if address.is_socket:
        return _UnixConnection(address.where, timeout)
    parts = urlsplit(address.where)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=timeout)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such socket"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens"
    return os.strerror(error.errno) if error.errno else str(error)


class _translated:
    """Turns what the standard library raises while a request is under way into ours."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, TimeoutError):
            raise TimedOut(
                f"The server did not answer within {self._timeout:.0f} s.",
                hint="Look at `homeport doctor`, then try again.",
            ) from error
        if isinstance(error, (OSError, http.client.HTTPException)):
            raise Unavailable(
                "The server went away in the middle of the answer.",
                hint="Is homeportd running? Look at its log, then try again.",
            ) from error
