"""One HTTP/1.1 answer, read as it comes in: is it whole, is it HTTP, can its connection be used again."""

from __future__ import annotations

BODY_LIMIT = 256 * 1024
"""An answer is good when this much of its body came; the connection is not used again then."""
HEAD_LIMIT = 64 * 1024


class BadAnswer(Exception):
    """The edge closed too early, or does not speak HTTP."""


class Answer:
    """One HTTP/1.1 answer as it comes in."""

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self.reusable = True
        self._buffer = bytearray()
        self._left: int | None = None
        """Bytes that are still to come, of the body or of a chunk; None: until the connection ends, or the next chunk's size."""
        self._chunked = False
        self._last = False
        self._body = 0

    def feed(self, data: bytes) -> None:
        """Raises BadAnswer when the answer ends before its end, and when it is no HTTP."""
        if not data:
            self._closed()
            return
        self._buffer += data
        while not self.status:
            if not self._take_head():
                return
        self._body += len(data)
        if self._chunked:
            self._take_chunks()
        else:
            self._take_body()
        if not self.complete and self._body > BODY_LIMIT:
            self.complete, self.reusable = True, False

    def _closed(self) -> None:
        if not self.status or self._chunked or self._left is not None:
            raise BadAnswer("closed before the answer was whole")
        self.complete, self.reusable = True, False

    def _take_head(self) -> bool:
        head, end, body = bytes(self._buffer).partition(b"\r\n\r\n")
        if not end:
            if len(head) > HEAD_LIMIT:
                raise BadAnswer("no end of the head")
            return False
        first, *lines = head.split(b"\r\n")
        parts = first.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise BadAnswer("no HTTP")
        self._buffer[:] = body
        status = int(parts[1])
        if status < 200:
            return True
        self.status = status
        fields = dict(_field(line) for line in lines)
        self._chunked = fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked")
        length = b"0" if status in (204, 304) else fields.get(b"content-length", b"")
        self._left = int(length) if length.isdigit() and not self._chunked else None
        self.reusable = fields.get(b"connection", b"").lower() != b"close"
        return True

    def _take_body(self) -> None:
        if self._left is not None:
            self._left -= len(self._buffer)
            self.complete = self._left <= 0
        self._buffer.clear()

    def _take_chunks(self) -> None:
        while not self.complete:
            if self._left is None:
                size, end, _ = bytes(self._buffer[:1024]).partition(b"\r\n")
                if not end:
                    return
                try:
                    self._left = int(size.partition(b";")[0], 16) + 2
                except ValueError as error:
                    raise BadAnswer("no size of a chunk") from error
                del self._buffer[: len(size) + 2]
                self._last = self._left == 2
            taken = min(self._left, len(self._buffer))
            del self._buffer[:taken]
            self._left -= taken
            if self._left:
                return
            self._left = None
            self.complete = self._last


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.strip().lower(), value.strip()
