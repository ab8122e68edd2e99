"""Finding the server, and the wire below the SDK: what is asked, what is raised, how streams survive."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import transport
from app.errors import BadInput, Conflict, Forbidden, ServerNotFound, TimedOut, TooLarge, Unavailable
from app.settings import default_data, socket_folder
from app.transport import Address, Transport, addresses, events, path_of

JSON = b'{"ok":true}'


def answer(body: bytes, head: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (head, kind, len(body), body)


def stream(*pieces: bytes, end: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + chunks + (b"0\r\n\r\n" if end else b"")


def _request(connection: socket.socket) -> bytes:
    """A whole request; of one that is chunked and long, its beginning."""
    got = b""
    while True:
        got += connection.recv(1 << 16)
        head, ended, body = got.partition(b"\r\n\r\n")
        if ended and b"Transfer-Encoding: chunked" in head:
            if body.endswith(b"0\r\n\r\n") or len(got) > 1 << 16:
                return got
        elif ended:
            length = re.search(rb"Content-Length: (\d+)", head)
            if length is None or len(body) == int(length[1]):
                return got


class Wire:
    """A server that gives its answers one connection after another, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread: threading.Thread | None = None

    def gives(self, *answers: bytes | None) -> None:
        """None: the connection is closed without an answer."""
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def _serve(self, answers: tuple[bytes | None, ...]) -> None:
        for given in answers:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(10)
                self.asked.append(_request(connection))
                if given is not None:
                    connection.sendall(given)

    def close(self) -> None:
        self._listener.close()
        if self._thread is not None:
            self._thread.join()

    def client(self) -> Transport:
        return Transport((Address(str(self.path), "test"),))


@pytest.fixture
def wire(data_folder: Path) -> Iterator[Wire]:
    made = Wire(data_folder / "s")
    yield made
    made.close()


# -- where


def test_a_named_server_is_the_only_candidate(tmp_path: Path) -> None:
    everything = {"HOMEPORT_SERVER": "https://b.example", "HOMEPORT_DATA": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    assert addresses("https://a.example/", everything) == (Address("https://a.example", "--server"),)
    assert addresses(None, everything) == (Address("https://b.example", "HOMEPORT_SERVER"),)
    assert addresses("unix:///x/y.sock", {}) == (Address("/x/y.sock", "--server"),)
    assert addresses("http://127.0.0.1:80", {}) == (Address("http://127.0.0.1:80", "--server"),)


def test_then_the_data_folder_then_the_config_then_the_usual_places(tmp_path: Path) -> None:
    config = tmp_path / "homeport/config.toml"
    config.parent.mkdir()
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    usual = (
        Address("/run/homeport/api.sock", "of the system"),
        Address(str(socket_folder(default_data()) / "api.sock"), "of the default data folder"),
    )

    assert addresses(None, environ) == usual
    config.write_text('server = "https://c.example"\n')
    assert addresses(None, environ) == (Address("https://c.example", str(config)),)
    assert addresses(None, {**environ, "HOMEPORT_DATA": str(tmp_path)}) == (
        Address(str(socket_folder(tmp_path) / "api.sock"), "HOMEPORT_DATA"),
    )


@pytest.mark.parametrize("text", ["server = 3\n", 'sever = "x"\n', "server = \n"])
def test_a_config_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "homeport/config.toml"
    config.parent.mkdir()
    config.write_text(text)

    with pytest.raises(BadInput, match=r"homeport/config\.toml"):
        addresses(None, {"XDG_CONFIG_HOME": str(tmp_path)})


def test_nothing_goes_over_a_network_in_the_clear() -> None:
    with pytest.raises(BadInput, match="not encrypted"):
        addresses("http://box.example", {})


def test_the_error_names_everything_that_was_tried(data_folder: Path) -> None:
    dead = data_folder / "dead"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(dead))
    client = Transport((Address(f"{data_folder}/none", "one"), Address(str(dead), "two")))

    with pytest.raises(ServerNotFound) as raised:
        client.send("GET", "/v1/health")
    assert raised.value.cause == (
        f"No Homeport server answers. Tried {data_folder}/none (one: no such socket), {dead} (two: nothing listens)."
    )


def test_the_first_that_answers_is_kept(wire: Wire, data_folder: Path) -> None:
    client = Transport((Address(f"{data_folder}/none", "one"), Address(str(wire.path), "two")))
    wire.gives(answer(JSON))

    assert client.server == str(wire.path)
    assert client.send("GET", "/v1/health").body == JSON
    assert client.server == str(wire.path)


def test_a_socket_of_somebody_else_is_forbidden(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(transport._UnixConnection, "connect", refuse)
    with pytest.raises(Forbidden, match="may not be opened"):
        wire.client().send("GET", "/v1/health")


# -- one request


def test_a_request_as_it_goes_out(wire: Wire) -> None:
    wire.gives(answer(JSON))
    query = {"a": "x y&z", "b": None, "c": True, "d": False, "e": 0}
    wire.client().send("POST", path_of("projects", "a b?c%2f"), query=query, body=b"{}", headers={"X": "y"})

    head, _, body = wire.asked[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/projects/a%20b%3Fc%252f?a=x+y%26z&c=true&e=0 HTTP/1.1"
    assert {b"X: y", b"Content-Length: 2"} <= set(lines)
    assert body == b"{}"


def test_a_body_of_chunks_is_sent_as_it_is_made(wire: Wire) -> None:
    wire.gives(answer(JSON))
    wire.client().send("POST", "/v1/x", body=iter([b"abc", b"de"]))

    assert b"Transfer-Encoding: chunked\r\n" in wire.asked[0]
    assert b"3\r\nabc\r\n" in wire.asked[0]


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "../b", "/"])
def test_a_name_that_is_a_path_goes_nowhere(part: str) -> None:
    with pytest.raises(BadInput, match="no name"):
        path_of("projects", part)


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (answer(b'{"type":"t","title":"t","status":409,"detail":"no","code":"conflict"}', b"409 C"), Conflict, "no"),
        (answer(b'{"type":"t","title":"t","status":413,"detail":"big","code":"newer"}', b"413 T"), TooLarge, "big"),
        (answer(b"<html>", b"502 Bad"), Unavailable, "answered 502: <html>"),
        (None, Unavailable, "went away"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Unavailable, "went away"),
        (b"nonsense\r\n\r\n", Unavailable, "went away"),
    ],
)
def test_what_goes_wrong_is_raised_as_ours(wire: Wire, given: bytes | None, kind: type[Exception], text: str) -> None:
    wire.gives(given)
    with pytest.raises(kind, match=text):
        wire.client().send("GET", "/v1/x")


def test_a_server_that_says_nothing_times_out(wire: Wire) -> None:
    with pytest.raises(TimedOut, match="within 0 s"):
        wire.client().send("GET", "/v1/x", timeout=0.1)


def test_a_refusal_in_the_middle_of_a_body_is_what_is_raised(wire: Wire) -> None:
    wire.gives(answer(b'{"type":"t","title":"t","status":413,"detail":"big","code":"too-large"}', b"413 T"))
    with pytest.raises(TooLarge, match="big"):
        wire.client().send("POST", "/v1/x", body=iter([b"x" * 100_000] * 100))


# -- streams


def test_events_are_cut_out_of_any_chunks() -> None:
    text = b"id: 7\nevent: log\ndata: a\ndata:  b\n\n: ping\n\nevent: end\ndata: \n\n"
    expected = [("log", "a\n b", "7"), ("ping", "", None), ("end", "", None)]

    for size in (1, 2, 3, 1000):
        assert list(events(text[at : at + size] for at in range(0, len(text), size))) == expected


def log(number: int) -> bytes:
    return b"id: %d\nevent: log\ndata: line %d\n\n" % (number, number)


END = b"event: end\ndata: \n\n"


def test_a_stream_is_read_to_its_end(wire: Wire) -> None:
    wire.gives(stream(log(0), b": ping\n\n", log(1) + END))

    assert list(wire.client().follow("/v1/f")) == [("log", "line 0"), ("log", "line 1")]


@pytest.mark.parametrize("cut", [stream(log(0), log(1), end=False), stream(log(0), log(1))])
def test_a_stream_that_is_cut_off_goes_on_after_what_was_seen(wire: Wire, cut: bytes) -> None:
    wire.gives(cut, None, stream(log(2), END))

    assert list(wire.client().follow("/v1/f")) == [
        ("log", "line 0"),
        ("log", "line 1"),
        ("connection", "The server went away; trying for 60 s to reach it again."),
        ("connection", "The server is back."),
        ("log", "line 2"),
    ]
    assert b"Last-Event-ID" not in wire.asked[0]
    assert b"Last-Event-ID: 1\r\n" in wire.asked[2]


def test_patience_ends(wire: Wire) -> None:
    times = iter([0.0, 1.0, transport.PATIENCE + 1])
    client = Transport((Address(str(wire.path), "test"),), clock=lambda: next(times))
    wire.gives(stream(log(0), end=False), None)
    found = client.follow("/v1/f")

    assert [next(found), next(found)][0] == ("log", "line 0")
    with pytest.raises(Unavailable):
        next(found)


@pytest.mark.parametrize(
    "given",
    [
        stream(b'event: problem\ndata: {"type":"t","title":"t","status":503,"detail":"no","code":"unavailable"}\n\n'),
        answer(b'{"type":"t","title":"t","status":503,"detail":"no","code":"unavailable"}', b"503 U"),
    ],
)
def test_a_problem_is_no_reason_to_ask_again(wire: Wire, given: bytes) -> None:
    wire.gives(given)
    with pytest.raises(Unavailable, match="no"):
        list(wire.client().follow("/v1/f"))
    assert len(wire.asked) == 1


def test_a_server_that_was_never_there_is_not_waited_for(data_folder: Path) -> None:
    with pytest.raises(ServerNotFound):
        next(Transport((Address(f"{data_folder}/none", "test"),)).follow("/v1/f"))
