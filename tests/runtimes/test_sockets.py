"""The kernel's tables of sockets: rows as they are written, and our own as they are."""

from __future__ import annotations

import os
import socket

from app.runtimes import sockets
from app.runtimes.sockets import Socket

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0200530A:1F90 0100530A:D431 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
"""
TABLE_6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 0
   1: 0000000000000000FFFF00000200530A:1F90 0000000000000000FFFF00000100530A:D431 01 0
"""


def test_rows_of_version_4() -> None:
    assert list(sockets.parse(TABLE)) == [
        Socket(("0.0.0.0", 8080), ("0.0.0.0", 0), sockets.LISTEN),
        Socket(("10.83.0.2", 8080), ("10.83.0.1", 54321), sockets.ESTABLISHED),
    ]


def test_rows_of_version_6_with_version_4_inside() -> None:
    assert list(sockets.parse(TABLE_6)) == [
        Socket(("::1", 3000), ("::", 0), sockets.LISTEN),
        Socket(("10.83.0.2", 8080), ("10.83.0.1", 54321), sockets.ESTABLISHED),
    ]


def test_our_own_sockets_are_seen_while_they_are_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        assert (host, port) in (sockets.listening(os.getpid()) or ())
        assert sockets.connections(os.getpid(), host, port) == 0
        with socket.create_connection((host, port)):
            assert sockets.connections(os.getpid(), host, port) == 1
    assert (host, port) not in (sockets.listening(os.getpid()) or ())


def test_a_namespace_that_cannot_be_seen_is_judged_from_this_end() -> None:
    assert sockets.listening(2**22 + 1) is None
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        with socket.create_connection((host, port)):
            assert sockets.connections(2**22 + 1, host, port) == 1
        assert sockets.connections(2**22 + 1, host, port) == 0
