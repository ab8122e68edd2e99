from __future__ import annotations

import pytest

from app.adapters.answer import BODY_LIMIT, Answer, BadAnswer

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7;x=1\r\n0\r\n\r\n12\r\n3\r\nabc\r\n0\r\n\r\n"


def read(*pieces: bytes) -> Answer:
    answer = Answer()
    for piece in pieces:
        answer.feed(piece)
    return answer


@pytest.mark.parametrize(
    ("data", "status", "reusable"),
    [
        (PLAIN, 200, True),
        (CHUNKED, 200, True),
        (b"HTTP/1.1 503 Service Unavailable\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", 503, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", 304, True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN, 200, True),
    ],
)
def test_whole_answers_in_one_piece_and_byte_by_byte(data: bytes, status: int, reusable: bool) -> None:
    for pieces in ([data], [data[index : index + 1] for index in range(len(data))]):
        answer = read(*pieces[:-1])
        if len(pieces) > 1:
            assert not answer.complete
        answer.feed(pieces[-1])
        assert (answer.complete, answer.status, answer.reusable) == (True, status, reusable)


def test_a_body_until_the_end_of_the_connection() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\n\r\nsome")
    assert not answer.complete
    answer.feed(b"")
    assert answer.complete
    assert not answer.reusable


def test_enough_of_a_large_body_is_enough() -> None:
    answer = read(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x" * (BODY_LIMIT + 1))
    assert (answer.complete, answer.reusable) == (True, False)


@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"HTTP/1.1 200 OK\r\n", b""],
        [PLAIN[:-1], b""],
        [CHUNKED[:-1], b""],
        [b"SSH-2.0-x\r\n\r\n"],
        [b"HTTP/1.1 abc\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
        [b"x" * 70000],
    ],
)
def test_what_is_cut_or_no_http_is_bad(pieces: list[bytes]) -> None:
    with pytest.raises(BadAnswer):
        read(*pieces)
