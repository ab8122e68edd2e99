"""A certificate from a real ACME server: Pebble, with a DNS server that sends every name to loopback."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.adapters.edge import EdgeSite, tls_of
from app.adapters.edge_routes import docker_route
from tests.box import wait_until
from tests.edge import Edge, upstreams

pytestmark = pytest.mark.e2e
NAME = "shop.test"


@dataclass(frozen=True)
class Pebble:
    """A running ACME server that asks for challenges on these ports."""

    directory: str
    management: int
    root: Path
    http_port: int
    https_port: int

    def ca(self) -> str:
        """The PEM of the root that it issues under."""
        context = ssl.create_default_context(cafile=str(self.root))
        connection = http.client.HTTPSConnection("localhost", self.management, timeout=5, context=context)
        try:
            connection.request("GET", "/roots/0")
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@pytest.fixture
def pebble(data_folder: Path, free_ports: Callable[[int], list[int]]) -> Iterator[Pebble]:
    if not shutil.which("pebble") or not shutil.which("pebble-challtestsrv"):
        pytest.skip("no pebble; ./tests/run installs it")
    acme, management, dns, dns_management, http_port, https_port = free_ports(6)
    folder = data_folder / "pebble"
    folder.mkdir()
    _certificate_for_localhost(folder)
    config = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": http_port,
        "tlsPort": https_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    names = ["pebble-challtestsrv", "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
    running = [
        _run([*names, "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{dns_management}"], folder),
        _run(["pebble", "-config", str(folder / "config.json"), "-dnsserver", f"127.0.0.1:{dns}"], folder),
    ]
    try:
        for port in (acme, management, dns_management):
            wait_until(partial(_open, port), "pebble listens")
        yield Pebble(f"https://localhost:{acme}/dir", management, folder / "cert.pem", http_port, https_port)
    finally:
        for process in running:
            process.kill()
            process.wait()


def _run(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _certificate_for_localhost(folder: Path) -> None:
    """What Pebble itself serves its API with; `acme_ca_root` has to trust it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)


@pytest.fixture
def edge(data_folder: Path, caddy_binary: str, pebble: Pebble) -> Iterator[Edge]:
    edge = Edge(
        data_folder,
        [pebble.http_port, pebble.https_port],
        caddy_binary,
        acme_ca=pebble.directory,
        acme_ca_root=str(pebble.root),
        acme_email="ops@example.test",
    )
    yield edge
    edge.close()


def test_a_public_name_gets_a_certificate_of_the_acme_ca(edge: Edge, pebble: Pebble) -> None:
    assert tls_of(NAME, edge.settings) == "acme"
    edge.sites = [EdgeSite("env_shop", (("shop.localhost", "internal"), (NAME, "acme")))]
    edge.caddy.ensure_running(edge.config)
    with upstreams("shop") as (shop,):
        edge.turn("env_shop", docker_route([shop.address]))
        # Whatever becomes of the certificate, the project answers under its local name.
        assert edge.get("shop.localhost").body == "shop"
        trusted = ssl.create_default_context(cadata=pebble.ca())
        certificate = wait_until(lambda: _certificate(edge, trusted), f"a certificate for {NAME}", 30, every=0.2)
        issuer = {key: value for part in certificate["issuer"] for key, value in part}
        assert issuer["commonName"].startswith("Pebble Intermediate CA")
        assert certificate["subjectAltName"] == (("DNS", NAME),)
        assert _https_body(edge, trusted) == "shop"
        reply = edge.get(NAME, "/a?b=1")
        assert (reply.status, reply.fields["location"]) == (308, f"https://{NAME}:{pebble.https_port}/a?b=1")


def _certificate(edge: Edge, trusted: ssl.SSLContext) -> Any:
    try:
        with (
            socket.create_connection(("127.0.0.1", edge.settings.https_port), timeout=5) as raw,
            trusted.wrap_socket(raw, server_hostname=NAME) as secure,
        ):
            return secure.getpeercert()
    except (ssl.SSLError, ConnectionError):
        return None


def _https_body(edge: Edge, trusted: ssl.SSLContext) -> str:
    with (
        socket.create_connection(("127.0.0.1", edge.settings.https_port), timeout=5) as raw,
        trusted.wrap_socket(raw, server_hostname=NAME) as secure,
    ):
        secure.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(secure)
        answer.begin()
        return answer.read().decode()
