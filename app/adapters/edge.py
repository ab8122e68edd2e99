"""The edge: which names are served how, and the whole configuration of Caddy as a pure function of them.

A deploy never changes this configuration. It names, for every host, one small file: the route of the host's environment.
The proxy reads that file on every request, so that renaming another one over it turns the traffic.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.adapters import edge_routes
from app.errors import BadInput
from app.model import HOST_NAME, Tls
from app.settings import Settings

PRIVATE_SUFFIXES = ("localhost", "local", "internal", "lan", "home.arpa", "test", "example", "invalid")
MAX_HEADER_BYTES = 64 * 1024
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNUSABLE = re.compile(r"[{}*?\[\]|\\\x00-\x1f]")


class EdgeSite(msgspec.Struct, frozen=True):
    """An environment as the edge sees it: its id, and the names it answers to."""

    environment_id: str
    names: tuple[tuple[str, Tls], ...]


def render(settings: Settings, sites: Sequence[EdgeSite]) -> dict[str, Any]:
    """The whole configuration of Caddy.

    Raises BadInput for a host name that is none, for one given twice, and for a data folder with an unusable path.
    """
    names = _checked(settings, sites)
    caddy = settings.root / "caddy"
    config: dict[str, Any] = {
        "admin": {"listen": f"unix/{settings.caddy_socket}|0660", "config": {"persist": False}},
        "logging": {"logs": {"default": _log(caddy / "caddy.log")}},
        "storage": {"module": "file_system", "root": str(caddy / "storage")},
        "apps": {
            "http": {
                "http_port": settings.http_port,
                "https_port": settings.https_port,
                "servers": {"edge": _server(settings, sites)},
            },
            "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
            "tls": _tls(settings, names),
        },
    }
    return config


def hash_of(config: Any) -> str:  # noqa: ANN401
    """sha256 of a configuration; the order of keys does not matter."""
    return hashlib.sha256(canonical(config)).hexdigest()


def canonical(config: Any) -> bytes:  # noqa: ANN401
    """The one spelling of a configuration."""
    return json.dumps(config, sort_keys=True, separators=(",", ":")).encode()


def differences(wanted: Any, running: Any, path: str = "") -> list[str]:  # noqa: ANN401
    """Where two configurations differ, in words: `apps.http.servers.edge.routes[0] was changed`, `… was added`."""
    if isinstance(wanted, dict) and isinstance(running, dict):
        return _different_keys(wanted, running, path)
    if isinstance(wanted, list) and isinstance(running, list) and len(wanted) == len(running):
        pairs = enumerate(zip(wanted, running, strict=True))
        return [words for index, (ours, theirs) in pairs for words in differences(ours, theirs, f"{path}[{index}]")]
    return [] if wanted == running else [f"{path or 'the whole configuration'} was changed"]


def route_folder(settings: Settings, environment_id: str) -> Path:
    """Where the routes of an environment are; `current` in it is the symlink that a deploy swaps."""
    return settings.root / "routes" / environment_id


def address_of(settings: Settings) -> str:
    """Where this machine reaches its own edge."""
    return settings.bind if settings.bind not in ("", "0.0.0.0", "::") else "127.0.0.1"


def tls_of(name: str, settings: Settings) -> Tls:
    """How `name` gets its certificate: from an ACME CA, from the box's own CA, or not at all (plain HTTP)."""
    if name.endswith(".sslip.io"):
        return "off"
    if name.endswith(".test") and settings.acme_ca is not None:
        return "acme"
    if "." not in name or _is_address(name) or any(name.endswith(f".{suffix}") for suffix in PRIVATE_SUFFIXES):
        return "internal"
    return "acme"


def generated_names(slug: str, settings: Settings) -> tuple[str, ...]:
    """The names that a project has without anybody asking; the first, below `.localhost`, answers plain HTTP here."""
    names = [local_name(slug)]
    if settings.base_domain:
        names.append(f"{slug}.{settings.base_domain}")
    address = settings.public_address or _own_address()
    if address:
        names.append(f"{slug}.{address.replace('.', '-')}.sslip.io")
    return tuple(names)


def local_name(slug: str) -> str:
    """The name that a project always has, and that needs no DNS."""
    return f"{slug}.localhost"


def url_of(name: str, tls: Tls, settings: Settings) -> str:
    """Where a browser finds `name`: https where it trusts the certificate, the port where it is not the usual one."""
    scheme, port, usual = ("https", settings.https_port, 443) if tls == "acme" else ("http", settings.http_port, 80)
    return f"{scheme}://{name}" if port == usual else f"{scheme}://{name}:{port}"


def _different_keys(wanted: dict[str, Any], running: dict[str, Any], path: str) -> list[str]:
    found = []
    for key in sorted({*wanted, *running}):
        below = f"{path}.{key}" if path else key
        if key not in running:
            found.append(f"{below} was removed")
        elif key not in wanted:
            found.append(f"{below} was added")
        else:
            found += differences(wanted[key], running[key], below)
    return found


def _checked(settings: Settings, sites: Sequence[EdgeSite]) -> dict[str, Tls]:
    unusable = _UNUSABLE.search(str(settings.root))
    if unusable or not settings.root.is_absolute():
        raise BadInput(f"the data folder {settings.data} needs an absolute path without any of {{}}*?[]|\\")
    names: dict[str, Tls] = {}
    for site in sites:
        if not _ENVIRONMENT.fullmatch(site.environment_id):
            raise BadInput(f"{site.environment_id!r} is no environment")
        for name, tls in site.names:
            if not HOST_NAME.fullmatch(name):
                raise BadInput(f"{name!r} is no host name")
            if name in names:
                raise BadInput(f"{name} is claimed twice")
            names[name] = tls
    return names


def _server(settings: Settings, sites: Sequence[EdgeSite]) -> dict[str, Any]:
    hosts = {
        name: (str(route_folder(settings, site.environment_id) / "current" / edge_routes.FILE), tls)
        for site in sites
        for name, tls in site.names
    }
    bind = f"[{settings.bind}]" if ":" in settings.bind else settings.bind
    return {
        "listen": [f"{bind}:{settings.http_port}", f"{bind}:{settings.https_port}"],
        "protocols": ["h1", "h2"],
        "automatic_https": {"disable_redirects": True},
        "tls_connection_policies": [{}],
        "read_header_timeout": "20s",
        "max_header_bytes": MAX_HEADER_BYTES,
        "routes": edge_routes.routes(dict(sorted(hosts.items())), settings.https_port),
        "errors": {"routes": edge_routes.error_routes()},
    }


def _tls(settings: Settings, names: dict[str, Tls]) -> dict[str, Any]:
    public = sorted(name for name, tls in names.items() if tls == "acme")
    private = sorted(name for name, tls in names.items() if tls == "internal")
    policies = []
    if public:
        policies.append({"subjects": public, "issuers": [_acme(settings)]})
    if private:
        policies.append({"subjects": private, "issuers": [{"module": "internal"}]})
    return {"certificates": {"automate": [*public, *private]}, "automation": {"policies": policies}} if policies else {}


def _acme(settings: Settings) -> dict[str, Any]:
    issuer: dict[str, Any] = {
        "module": "acme",
        "challenges": {
            "http": {"alternate_port": settings.http_port},
            "tls-alpn": {"alternate_port": settings.https_port},
        },
    }
    if settings.acme_email:
        issuer["email"] = settings.acme_email
    if settings.acme_ca:
        issuer["ca"] = settings.acme_ca
    if settings.acme_ca_root:
        issuer["trusted_roots_pem_files"] = [settings.acme_ca_root]
    return issuer


def _log(path: Path) -> dict[str, Any]:
    """Errors name the request that met them; its headers and its query may carry secrets."""
    return {
        "writer": {"output": "file", "filename": str(path), "roll_size_mb": 10, "roll_keep": 3},
        "encoder": {
            "format": "filter",
            "wrap": {"format": "json"},
            "fields": {
                "request>headers": {"filter": "delete"},
                "request>uri": {"filter": "regexp", "regexp": r"\?.*", "value": "?"},
            },
        },
        "level": "INFO",
        "exclude": ["admin.api"],
    }


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_address() -> str | None:
    import socket

    import psutil

    entries = [entry for found in psutil.net_if_addrs().values() for entry in found if entry.family == socket.AF_INET]
    return next((entry.address for entry in entries if ipaddress.ip_address(entry.address).is_global), None)
