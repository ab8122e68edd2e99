"""An application that behaves as its first argument says. Runs inside containers: standard library only."""

import http.server
import os
import socket
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/slow/"):
            time.sleep(float(self.path.rpartition("/")[2]))
        status = {"/": int(os.environ.get("STATUS", "200")), "/missing": 404, "/moved": 302}.get(self.path, 200)
        body = f"{os.environ.get('NAME', 'nobody')} at {self.headers['Host']}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(host: str = "0.0.0.0", port: str = os.environ.get("PORT", "8080")) -> None:
    print(f"listening on {host}:{port}", flush=True)
    http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()


def flicker() -> None:
    class Once(Handler):
        def do_GET(self) -> None:
            super().do_GET()
            os.environ["STATUS"] = "500"

    http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Once).serve_forever()


def crash(code: str = "3") -> None:
    print("about to fail", flush=True)
    print("the reason is in this line", file=sys.stderr, flush=True)
    sys.exit(int(code))


def need(key: str) -> None:
    print(os.environ[key])


def hog() -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 20)))


def mute() -> None:
    with socket.create_server(("0.0.0.0", int(os.environ["PORT"]))):
        time.sleep(1000)


def idle() -> None:
    time.sleep(1000)


def full() -> None:
    with open("/dev/full", "w") as file:
        file.write("x" * 100_000)


def chat(count: str) -> None:
    for number in range(int(count)):
        print(f"line {number}", flush=True)
    time.sleep(1000)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
