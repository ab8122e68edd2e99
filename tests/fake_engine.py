"""A Docker engine at the wire: answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Answer = tuple[int, Any]


class FakeEngine:
    """Listens on a unix socket. `answers` maps `METHOD /path` (without version and query) to (status, JSON), or to a function."""

    def __init__(self, socket: Path) -> None:
        self.host = f"unix://{socket}"
        self.asked: list[str] = []
        self.answers: dict[str, Answer | Callable[[], Answer]] = {
            "GET /version": (200, {"ApiVersion": "1.41", "Version": "20.10.24"}),
            "GET /info": (200, {"ServerVersion": "20.10.24", "Plugins": {"Log": ["json-file", "local"]}}),
        }
        self.silence = 0.0
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                time.sleep(engine.silence)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply(*engine.answer(self.command, self.path))

            do_GET = do_POST = do_DELETE = handle_any

            def reply(self, status: int, value: Any) -> None:
                body = b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self._server = Server(str(socket), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, method: str, path: str) -> Answer:
        plain = unquote(path).partition("?")[0]
        if plain.startswith("/v1."):
            plain = "/" + plain.split("/", 2)[2]
        key = f"{method} {plain}"
        self.asked.append(key)
        found = self.answers.get(key, (404, {"message": f"nothing at {key}"}))
        return found() if callable(found) else found

    def count(self, key: str) -> int:
        """How often it was asked that."""
        return self.asked.count(key)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
