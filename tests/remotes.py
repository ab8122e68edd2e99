"""Hosts of git for tests, on loopback: https with a throw-away certificate in front of git's own CGI program, and sshd."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SSHD = "/usr/sbin/sshd"


class HttpsHost:
    """Serves the repositories below `root`. Set `credential`, `protocol`, `mode` or `on_request` to change how."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.credential: str | None = None
        self.protocol = True
        """Whether it hears of version 2 of git's protocol; version 0 gives no commit by its id."""
        self.mode = "serve"
        self.on_request: Callable[[], None] = lambda: None
        self.ca = folder / "ca.pem"
        certificate = made_certificate(folder)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.host = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, name: str) -> str:
        return f"https://localhost:{self.port}/{name}"

    @contextmanager
    def running(self) -> Iterator[HttpsHost]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    host: HttpsHost


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self._answer()

    do_POST = do_GET

    def _answer(self) -> None:
        host = self.server.host
        host.on_request()
        if host.mode == "hang":
            time.sleep(3)
            return
        if host.mode == "drip":
            self._drip()
            return
        if host.mode.isdigit():
            self._say(int(host.mode), f"remote says {self.headers.get('Authorization')}\r\n".encode())
            return
        if host.mode.startswith("http"):
            self._say(301, b"", ("Location", host.mode + self.path))
            return
        wanted = host.credential and "Basic " + base64.b64encode(host.credential.encode()).decode()
        if wanted and self.headers.get("Authorization") != wanted:
            self._say(401, b"who are you\n", ("WWW-Authenticate", 'Basic realm="git"'))
            return
        self._cgi()

    def _say(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Type", "text/plain"), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b"0")
            self.wfile.flush()
            time.sleep(0.1)

    def _cgi(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunked()
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.host.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        if self.server.host.protocol and self.headers.get("Git-Protocol"):
            env["GIT_PROTOCOL"] = self.headers["Git-Protocol"]
        answer = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        self.send_response(status)
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _chunked(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return b""
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body


def made_certificate(folder: Path) -> Path:
    """`ca.pem` to trust, and the file with key and certificate of localhost, in `folder`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(public)
    (folder / "server.pem").write_bytes(private + public)
    return folder / "server.pem"


class SshHost:
    """An sshd of its own that lets `authorized` (public keys, one a line) in as the current user."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.authorized = folder / "authorized_keys"
        self.authorized.touch(mode=0o600)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: Path) -> str:
        return f"ssh://root@127.0.0.1:{self.port}{path}"

    def new_host_key(self) -> None:
        """As if the machine had been set up anew, or were another one."""
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink(missing_ok=True)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "host_key")]
        subprocess.run(argv, check=True, timeout=30)

    @contextmanager
    def running(self) -> Iterator[SshHost]:
        Path("/run/sshd").mkdir(exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.authorized}\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stderr=log, stdin=subprocess.DEVNULL)
        try:
            self._await(process)
            yield self
        finally:
            process.terminate()
            process.wait(10)

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        limit = time.monotonic() + 20
        while "Server listening" not in (self.folder / "log").read_text():
            if process.poll() is not None or time.monotonic() > limit:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)
        (self.folder / "log").write_text("")


def seen_by_other_processes(secret: str) -> list[str]:
    """The arguments of every process that shows `secret` in its arguments or its environment."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            arguments = (process / "cmdline").read_bytes()
            if secret.encode() in arguments + (process / "environ").read_bytes():
                found.append(arguments.replace(b"\0", b" ").decode(errors="replace"))
    return found


def has_sshd() -> bool:
    """Whether an sshd can be started here."""
    return os.access(SSHD, os.X_OK) and os.getuid() == 0 and shutil.which("ssh") is not None
