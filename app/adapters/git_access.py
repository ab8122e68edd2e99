"""How git is let out to one URL: an environment of our own making, and a private folder for what must not be seen.

Credentials and keys lie in files of mode 0600 in that folder (in memory where the machine has /dev/shm) while git runs:
they are in no argument, no variable, no repository and no log.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.adapters.git_words import Source, basic

_SHM = Path("/dev/shm")
_PASSED_ON = (
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
)
# Faults that old, honest histories have; what could harm a reader stays an error.
_HARMLESS = (
    "badDate",
    "badDateOverflow",
    "badEmail",
    "badName",
    "badTimezone",
    "missingAuthor",
    "missingCommitter",
    "missingEmail",
    "missingNameBeforeEmail",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingTagEntry",
    "missingTaggerEntry",
    "multipleAuthors",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
)
_PROTOCOLS = {"https": "https", "ssh": "ssh", "local": "file"}
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.alternateRefsCommand": "",
    "core.askPass": "",
    "core.bigFileThreshold": "8m",
    "core.fsync": "loose-object,pack,pack-metadata,reference",
    "core.sshCommand": "false",
    "credential.helper": "",
    "fastimport.unpackLimit": "0",
    "fetch.fsckObjects": "true",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "http.followRedirects": "initial",
    "maintenance.auto": "false",
    "pack.compression": "1",
    "pack.threads": "1",
    "protocol.ext.allow": "never",
    "submodule.recurse": "false",
} | {f"fetch.fsck.{fault}": "ignore" for fault in _HARMLESS}


def environment(repo: Path, environ: Mapping[str, str], config: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a git that works in `repo`: nothing of the user's or the system's configuration.

    Of `environ`, the server's own, only PATH and what says which certificates and proxies to use goes in.
    """
    names = [*_CONFIG.items(), *config.items()]
    env = {key: environ[key] for key in _PASSED_ON if key in environ}
    if "SSL_CERT_FILE" in env:
        env.setdefault("GIT_SSL_CAINFO", env["SSL_CERT_FILE"])
    env |= {
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
        "GIT_DIR": str(repo),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": str(len(names)),
    }
    for index, (key, value) in enumerate(names):
        env |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return env


@contextmanager
def access(source: Source, data: Path) -> Iterator[dict[str, str]]:
    """The variables that let git reach `source`, and nothing else, for as long as the context is open.

    New ssh hosts are remembered in `data`/known_hosts.
    """
    with private_folder(data) as folder:
        write_secret(folder / "config", global_config(source).encode())
        env = {
            "HOME": str(folder),
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS[source.url.transport],
            "GIT_CONFIG_GLOBAL": str(folder / "config"),
        }
        if source.url.transport == "ssh":
            if source.key:
                write_secret(folder / "key", source.key.strip() + b"\n")
            (folder / "known_hosts").symlink_to(data.resolve() / "known_hosts")
            write_secret(folder / "ssh_config", ssh_config(folder, with_key=bool(source.key)).encode())
            env |= {"GIT_SSH_COMMAND": f"ssh -F {shlex.quote(str(folder / 'ssh_config'))}", "GIT_SSH_VARIANT": "ssh"}
        yield env


@contextmanager
def private_folder(data: Path) -> Iterator[Path]:
    """A folder that only this user sees, in memory where that can be, removed in the end."""
    with tempfile.TemporaryDirectory(prefix=_prefix(data), dir=_SHM if os.access(_SHM, os.W_OK) else data) as name:
        yield Path(name)


def left_over(data: Path) -> list[Path]:
    """Private folders of this data folder that killed runs left behind."""
    return [path for place in (_SHM, data) for path in place.glob(f"{_prefix(data)}*")]


def _prefix(data: Path) -> str:
    return f"homeport-git-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:8]}-"


def ssh_config(folder: Path, *, with_key: bool) -> str:
    """What ssh reads instead of the user's and the system's configuration. `folder` is ours: no character to escape."""
    return f"""\
Host *
  BatchMode yes
  IdentitiesOnly yes
  IdentityFile {folder / "key" if with_key else "none"}
  IdentityAgent none
  PreferredAuthentications publickey,none
  UserKnownHostsFile {folder / "known_hosts"}
  GlobalKnownHostsFile none
  StrictHostKeyChecking accept-new
  UpdateHostKeys no
  ClearAllForwardings yes
  PermitLocalCommand no
  ConnectTimeout 15
  ServerAliveInterval 15
  ServerAliveCountMax 3
  LogLevel ERROR
"""


def global_config(source: Source) -> str:
    """git's configuration for one URL: the credential, for its host alone; trust in an allowed local folder."""
    text = source.url.text
    if source.url.transport == "local":
        return f"[safe]\n\tdirectory = {_quoted(text)}\n\tdirectory = {_quoted(text.rstrip('/') + '/.git')}\n"
    if source.credential is None:
        return ""
    origin = "/".join(text.split("/")[:3]) + "/"
    return f"[http {_quoted(origin)}]\n\textraHeader = {_quoted(f'Authorization: Basic {basic(source.credential)}')}\n"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write_secret(path: Path, content: bytes) -> None:
    """A new file that only this user can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
