"""Event streams and body bridges: what goes over the wire, resuming, pings, disconnects, memory."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from app.api import streams
from app.api.streams import Body, message
from app.appliance import Appliance
from app.errors import NotFound, TimedOut
from app.inputs import NewDomain
from tests.box import wait_until
from tests.nouns import IMAGE, PLAN, claimed
from tests.serving import Script, Talking, new_box, served, working


@pytest.mark.parametrize(
    ("kind", "data", "number", "expected"),
    [
        ("log", "hello", 3, b"id: 3\nevent: log\ndata: hello\n\n"),
        ("log", "", 0, b"id: 0\nevent: log\ndata: \n\n"),
        ("log", "a\nb\r\nc\rd", None, b"event: log\ndata: a\ndata: b\ndata: c\ndata: d\n\n"),
        ("x", NewDomain(name="a.b"), None, b'event: x\ndata: {"name":"a.b","tls":null}\n\n'),
    ],
)
def test_one_event(kind: str, data: str, number: int | None, expected: bytes) -> None:
    assert message(kind, data, number) == expected


def test_no_line_can_forge_an_event() -> None:
    assert message("log", "x\n\nevent: deployment\ndata: {}").count(b"\n\n") == 1


async def _all(source: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in source])


def test_polling_ends_with_end_and_pings_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PING_SECONDS", 0.02)
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.01)
    answers = iter([([b"a"], False), *[([], False)] * 9, ([b"b"], True)])

    found = asyncio.run(_all(streams.polled(lambda: next(answers))))

    assert found.startswith(b"a: ping\n\n")
    assert found.endswith(b"bevent: end\ndata: \n\n")


def test_a_broken_stream_ends_with_its_problem() -> None:
    def look() -> tuple[list[bytes], bool]:
        raise NotFound("it went away")

    found = asyncio.run(_all(streams.closed(streams.polled(look))))

    assert found.startswith(b'event: problem\ndata: {"type":"urn:homeport:problem:not-found"')


def test_a_slow_reader_holds_the_thread_back() -> None:
    made = 0

    def lines() -> Iterator[int]:
        nonlocal made
        while made < streams.WINDOW * 3:
            made += 1
            yield made

    async def read() -> int:
        source = streams.threaded(lines, lambda: None)
        await anext(source)
        async with asyncio.timeout(30):
            while made < streams.WINDOW:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # in which it would go on, if it were not held
        ahead = made
        await source.aclose()  # type: ignore[attr-defined]
        return ahead

    assert streams.WINDOW <= asyncio.run(read()) <= streams.WINDOW + 2


def test_what_the_thread_raises_reaches_the_reader() -> None:
    def lines() -> Iterator[str]:
        yield "one"
        raise NotFound("gone")

    async def read() -> list[str | None]:
        return [line async for line in streams.threaded(lines, lambda: None)]

    with pytest.raises(NotFound, match="gone"):
        asyncio.run(read())


def _read_body(chunks: list[bytes], size: int) -> list[bytes]:
    async def read() -> list[bytes]:
        async def source() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        body = io.BufferedReader(Body(source(), asyncio.get_running_loop()), size)
        return await asyncio.to_thread(lambda: list(iter(lambda: body.read(size), b"")))

    return asyncio.run(read())


def test_a_body_is_read_as_a_file() -> None:
    assert _read_body([b"ab", b"", b"cdefg", b"h"], 3) == [b"abc", b"def", b"gh"]


def test_a_body_that_stands_still_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BODY_SECONDS", 0.05)

    async def read() -> bytes:
        async def source() -> AsyncIterator[bytes]:
            await asyncio.sleep(30)
            yield b""

        body = Body(source(), asyncio.get_running_loop())
        return await asyncio.to_thread(body.read)

    with pytest.raises(TimedOut, match="stood still"):
        asyncio.run(read())


# -- over HTTP


@pytest.fixture
def api(api: httpx.Client) -> httpx.Client:
    """The API of a box that has the project `shop`."""
    api.post("/projects", json={"slug": "shop"})
    return api


def _events(text: str) -> list[tuple[str | None, str]]:
    """(id, kind) of each event."""
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        found.append((fields.get("id"), fields["event"]))
    return found


def _queued(box: Appliance) -> None:
    box.store.deployments.create(box.store.environments.of(box.store.projects.named("shop")), "upload", "ada", commit="c" * 40)


def test_a_deployment_is_followed_to_its_end(api: httpx.Client, box: Appliance) -> None:
    _queued(box)
    with working(box, Script(lines={"image": ["one", "two"]})):
        text = api.get("/projects/shop/deployments/1/follow").text
    events = _events(text)

    assert [number for number, kind in events if kind == "log"] == [str(number) for number in range(8)]
    assert events[-2:] == [(None, "deployment"), (None, "end")]
    assert text.index("data: two\n") < text.rindex('"status":"live"')
    assert "-----> source" in text


def test_following_is_taken_up_after_the_last_line_seen(api: httpx.Client, box: Appliance) -> None:
    _queued(box)
    with working(box, Script(lines={"image": ["one", "two"]})):
        api.get("/projects/shop/deployments/1/follow")
    text = api.get("/projects/shop/deployments/1/follow", headers={"Last-Event-ID": "5"}).text

    assert _events(text) == [("6", "log"), ("7", "log"), (None, "deployment"), (None, "end")]


def test_the_end_of_a_long_log_comes_before_the_end_of_its_deployment(api: httpx.Client, box: Appliance) -> None:
    _queued(box)
    with working(box, Script(lines={"image": [f"line {number}" for number in range(6000)]})):
        api.get("/projects/shop/deployments/1/follow")
    events = _events(api.get("/projects/shop/deployments/1/follow").text)

    assert [kind for _, kind in events] == ["log"] * 6006 + ["deployment", "end"]


def test_it_waits_for_what_was_replaced_to_drain(api: httpx.Client, box: Appliance) -> None:
    deployment = claimed(box.store, box.store.environments.of(box.store.projects.named("shop")))
    box.store.deployments.make_live(deployment)
    later = threading.Timer(0.4, lambda: box.store.deployments.drained(deployment, None))
    began = time.monotonic()
    later.start()

    events = _events(api.get("/projects/shop/deployments/1/follow").text)

    assert time.monotonic() - began >= 0.4
    assert events == [(None, "deployment"), (None, "deployment"), (None, "end")]


def test_an_unknown_deployment_is_no_stream(api: httpx.Client) -> None:
    assert api.get("/projects/shop/deployments/7/follow").status_code == 404


def test_output_is_text_or_a_stream_and_a_reader_who_leaves_is_noticed(tmp_path: Path, data_folder: Path) -> None:
    talking = Talking(lines=["one", "two"])
    box = new_box(tmp_path / "data", runtimes={"docker": talking})
    with (
        served(box, data_folder / "api.sock") as socket,
        httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://homeport/v1", timeout=20) as api,
    ):
        api.post("/projects", json={"slug": "shop"})
        environment = box.store.environments.of(box.store.projects.named("shop"))
        deployment = claimed(box.store, environment)
        box.store.deployments.planned(deployment, PLAN)
        box.store.deployments.built(deployment, IMAGE)
        box.store.deployments.make_live(deployment)

        assert api.get("/projects/shop/logs?tail=1").text == "two\n"
        talking.canceled.clear()
        with api.stream("GET", "/projects/shop/logs?follow=true") as answer:
            got = b""
            for piece in answer.iter_raw():
                got += piece
                if got.count(b"\n\n") == 2:
                    break
            assert got == b"event: log\ndata: one\n\nevent: log\ndata: two\n\n"
            assert not talking.canceled.is_set()
        wait_until(talking.canceled.is_set, "the runtime learns that nobody reads")
    box.store.close()


def test_events_are_followed_and_resumed(api: httpx.Client) -> None:
    with api.stream("GET", "/events?follow=true", headers={"Last-Event-ID": "1"}) as answer:
        first = next(answer.iter_raw())

    assert first.startswith(b"id: 2\nevent: event\n")
