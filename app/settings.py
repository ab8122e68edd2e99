"""What the operator decides: one frozen Struct from `<data>/server.toml`, then HOMEPORT_* variables, then flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.errors import BadInput

CONFIG_NAME = "server.toml"
SOCKET_PATH_MAX = 100
"""sun_path holds 108 bytes on Linux; below it, room for the names we append."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes in bytes, times in seconds. Every field may stand in `<data>/server.toml` or as HOMEPORT_<FIELD>."""

    data: str
    http_port: int = 80
    https_port: int = 443
    bind: str = ""
    """Address that Caddy listens on; empty means every one."""
    base_domain: str | None = None
    """Projects get `<project>.<base_domain>` too when set."""
    public_address: str | None = None
    """The box's public IPv4 address; projects get `<project>.<a-b-c-d>.sslip.io`. Found on the interfaces when not set."""
    acme_email: str | None = None
    acme_ca: str | None = None
    acme_ca_root: str | None = None
    """PEM file to trust for `acme_ca` (a private CA)."""
    local_repositories: tuple[str, ...] = ()
    """Folders below which a git URL may be a path on this machine. Empty: none may."""
    caddy: str | None = None
    docker_cli: str | None = None
    docker_host: str | None = None
    bundles: str | None = None
    """A folder of the operator's own framework bundles, read before ours."""
    build_slots: int = 2
    build_memory: int = 1 << 30
    build_cpus: float = 1.0
    app_memory: int = 512 << 20
    keep_deployments: int = 5
    """How many former live deployments keep their image for rollback."""
    network_pool: str = "10.83.0.0/16"
    upload_limit: int = 512 << 20
    unpacked_limit: int = 2 << 30

    @property
    def root(self) -> Path:
        """The data folder."""
        return Path(self.data)

    @property
    def database(self) -> Path:
        """The SQLite file; everything that matters and is not a log, a repository or a built site is in it."""
        return self.root / "homeport.db"

    @property
    def key_file(self) -> Path:
        """The key of the secrets at rest, outside the database."""
        return self.root / "secret.key"

    @property
    def sockets(self) -> Path:
        """Where the unix sockets are: the data folder, or a short folder of its own when that path is too long for one."""
        return socket_folder(self.root)

    @property
    def api_socket(self) -> Path:
        return self.sockets / "api.sock"

    @property
    def caddy_socket(self) -> Path:
        return self.sockets / "caddy.sock"


def socket_folder(data: Path) -> Path:
    """`data`, or `/tmp/homeport-<uid>-<hash>` when a socket's path in it would pass what the kernel takes."""
    import hashlib

    resolved = data.resolve()
    if len(os.fsencode(resolved)) <= SOCKET_PATH_MAX - len("/caddy.sock"):
        return resolved
    digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:12]
    return Path(f"/tmp/homeport-{os.getuid()}-{digest}")


def default_data() -> Path:
    """/var/lib/homeport for root, else the XDG data home."""
    if os.getuid() == 0:
        return Path("/var/lib/homeport")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "homeport"


def load(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Settings from the file in the data folder, then HOMEPORT_*, then `flags` (None means not given).

    Raises BadInput naming the key and its origin for an unknown key or a value of the wrong type.
    """
    data = str(Path(flags.get("data") or environ.get("HOMEPORT_DATA") or default_data()).resolve())
    values: dict[str, Any] = {**_file_values(Path(data) / CONFIG_NAME), **_environment_values(environ)}
    values.update({key: value for key, value in flags.items() if value is not None})
    values["data"] = data
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"server settings: {error}", hint=f"Correct {data}/{CONFIG_NAME} or the HOMEPORT_* variable.") from error


def _file_values(path: Path) -> dict[str, Any]:
    import tomllib

    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}", hint="Correct the file; its keys are listed in docs/settings.md.") from error


def _environment_values(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        text = environ.get(f"HOMEPORT_{name.upper()}")
        if text is not None:
            values[name] = tuple(filter(None, text.split(":"))) if name == "local_repositories" else text
    return values
