"""Where async lives: event streams out, request bodies in, and the bridges to the sync core on threads."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec
from litestar.concurrency import sync_to_thread
from litestar.response import Stream

from app.api.problems import LOG, unforeseen
from app.errors import HomeportError, TimedOut, problem_of

PING_SECONDS = 15.0
POLL_SECONDS = 0.05
BODY_SECONDS = 60.0
"""Longest silence of a caller in the middle of a body."""
WINDOW = 1000
"""Lines a producing thread may be ahead of a slow reader."""

T = TypeVar("T")


def message(kind: str, data: str | msgspec.Struct, number: int | None = None) -> bytes:
    """One event of an event stream: Structs as JSON, text line by line. Pure."""
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    head = f"event: {kind}\n" if number is None else f"id: {number}\nevent: {kind}\n"
    return (head + "".join(f"data: {line}\n" for line in lines) + "\n").encode(errors="replace")


PING = b": ping\n\n"
END = message("end", "")
"""The last event of every stream that came to its end; without it the reader knows that it was cut off."""


def events(messages: AsyncIterator[bytes]) -> Stream:
    """`messages` as an answer that nothing on the way holds back; what goes wrong becomes a last `problem`."""
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return Stream(closed(messages), media_type="text/event-stream", headers=headers)


async def closed(messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`messages`, with what they raise as a last event: after the first byte there is no other way to tell."""
    try:
        async for piece in messages:
            yield piece
    except HomeportError as error:
        yield message("problem", problem_of(error))
    except Exception as error:
        LOG.error("a stream broke", exc_info=error)
        yield message("problem", unforeseen())


async def polled(look: Callable[[], tuple[list[bytes], bool]]) -> AsyncIterator[bytes]:
    """The messages that `look` (run on a thread) finds, asked again every POLL_SECONDS until it says that it is done."""
    spoke = time.monotonic()
    while True:
        found, done = await sync_to_thread(look)
        if found:
            spoke = time.monotonic()
            yield b"".join(found)
        if done:
            yield END
            return
        if time.monotonic() - spoke >= PING_SECONDS:
            spoke = time.monotonic()
            yield PING
        if not found:
            await asyncio.sleep(POLL_SECONDS)


async def threaded(lines: Callable[[], Iterator[T]], cancel: Callable[[], None]) -> AsyncIterator[T | None]:
    """What the blocking iterator gives, read on a thread of its own; None after each PING_SECONDS of silence.

    `cancel` is called when the reader went away; it must make the iterator end.
    """
    pump = _Pump(lines, asyncio.get_running_loop())
    threading.Thread(target=pump.run, name="stream", daemon=True).start()
    try:
        while True:
            try:
                got = await asyncio.wait_for(pump.queue.get(), PING_SECONDS)
            except TimeoutError:
                yield None
                continue
            if isinstance(got, BaseException):
                raise got
            if got is None:
                return
            pump.room.release()
            yield got[0]
    finally:
        pump.gone.set()
        cancel()


class _Pump(Generic[T]):
    """The thread's side: items into the loop's queue, never more than WINDOW ahead; then None, or what went wrong."""

    def __init__(self, lines: Callable[[], Iterator[T]], loop: asyncio.AbstractEventLoop) -> None:
        self._lines = lines
        self._loop = loop
        self.queue: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
        self.room = threading.Semaphore(WINDOW)
        self.gone = threading.Event()

    def run(self) -> None:
        end: BaseException | None = None
        try:
            for item in self._lines():
                while not self.room.acquire(timeout=1) and not self.gone.is_set():
                    pass
                if self.gone.is_set():
                    return
                self._put((item,))
        except Exception as error:
            end = error
        self._put(end)

    def _put(self, item: tuple[T] | BaseException | None) -> None:
        if not self.gone.is_set():
            with suppress(RuntimeError):  # the loop has ended: nobody reads any more
                self._loop.call_soon_threadsafe(self.queue.put_nowait, item)


class Body(io.RawIOBase):
    """A request's body as a file for a verb on a thread. Each read takes the next chunk from the loop: memory stays flat."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._chunks = chunks
        self._loop = loop
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Raises TimedOut when the caller is silent for BODY_SECONDS, and what the framework raises for a body too large."""
        while not self._rest:
            chunk = self._next()
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _next(self) -> bytes | None:
        future = asyncio.run_coroutine_threadsafe(self._take(), self._loop)
        try:
            return future.result(BODY_SECONDS)
        except TimeoutError as error:
            future.cancel()
            raise TimedOut(f"The upload stood still for {BODY_SECONDS:.0f} s.", hint="Deploy again.") from error

    async def _take(self) -> bytes | None:
        return await anext(self._chunks, None)
