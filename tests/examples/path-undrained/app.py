"""Takes its time in the middle of every answer, and leaves at once when asked to stop: what is in flight then is lost."""

import os
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 3


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"version 1"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:4])
        time.sleep(SECONDS)
        self.wfile.write(body[4:])


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Server(("0.0.0.0", 8080), Handler).serve_forever()
