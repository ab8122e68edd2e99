"""Which git URLs and references are taken: https, ssh, folders that the operator allows. Decided before git sees them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Literal, NoReturn
from urllib.parse import unquote, urlsplit

import msgspec

from app.errors import SourceRefused
from app.text import clean_line

MAX_URL = 2048
MAX_REF = 255
DEFAULT_BRANCH = "HEAD"

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}"
_SCP = re.compile(rf"(?P<user>{_USER})@(?P<host>{_HOST}):(?P<path>(?![:-])\S+)")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)(?P<mark>:{1,2})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WAYS = "Use https://host/path, ssh://git@host/path or git@host:path."
_ALLOW = (
    "Allow its folder with the server's setting `local_repositories` (HOMEPORT_LOCAL_REPOSITORIES, "
    "or `homeportd up --local-repository DIR`), or use an https or ssh URL."
)


class Url(msgspec.Struct, frozen=True, kw_only=True):
    """A git URL that may be read. `text` is what git is given, shown and stored: it never holds a credential.

    `credential` is what stood before the @ of an https URL, as `user:password`; keep it as a secret, or drop it.
    """

    text: str
    transport: Literal["https", "ssh", "local"]
    host: str = ""
    credential: str | None = None

    def __repr__(self) -> str:
        return f"Url({self.text!r})"


def parse_url(text: str, local_repositories: Sequence[str] = ()) -> Url:
    """What `text` names. Raises SourceRefused for all that is not https, ssh, or a folder below an allowed one."""
    text = text.strip()
    if not text:
        raise SourceRefused("The git URL is empty.", hint=_WAYS)
    if text.startswith("/"):
        return _local(text, local_repositories)
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable():
        raise SourceRefused(
            "The git URL is too long, or has a control or non-ASCII character in it.",
            hint="Percent-encode such characters, and write such a host name in its xn-- form.",
        )
    if text.startswith("-"):
        _refuse(text, "it starts with a dash")
    scheme = _SCHEME.match(text)
    if scheme and text[scheme.end("mark") :].startswith("//") and scheme["mark"] == ":":
        return _with_scheme(text, scheme["scheme"].lower(), local_repositories)
    if scheme and scheme["mark"] == "::":
        _refuse(text, f"{scheme['scheme']}:: would run a helper program")
    if scp := _SCP.fullmatch(text):
        return Url(text=text, transport="ssh", host=scp["host"])
    _refuse(text, "it is no URL of https or ssh")


def check_ref(text: str) -> str:
    """`text` when it can name a branch or tag, or is a full commit; the rules are git's own and ours. Raises SourceRefused."""
    why = _ref_fault(text)
    if why:
        raise SourceRefused(
            f"The reference {clean_line(text)[:80]!r} cannot be used: {why}.",
            hint="Name a branch, a tag, or a commit with all its 40 characters.",
        )
    return text


def is_commit(text: str) -> bool:
    """Whether it is a full commit id."""
    return _COMMIT.fullmatch(text) is not None


def _with_scheme(text: str, scheme: str, local_repositories: Sequence[str]) -> Url:
    if scheme == "file":
        host, slash, path = text[len("file://") :].partition("/")
        if host not in ("", "localhost") or not slash:
            _refuse(text, "a file:// URL must name a folder of this machine")
        return _local("/" + unquote(path), local_repositories)
    if scheme == "http":
        _refuse(text, "http:// can be read and changed by anybody on the way; use https://")
    if scheme not in ("https", "ssh"):
        _refuse(text, f"{scheme}:// is not taken")
    return _remote(text, scheme)


def _remote(text: str, scheme: str) -> Url:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        _refuse(text, "its host or port is malformed")
    user, at, location = parts.netloc.rpartition("@")
    host = location.rpartition(":")[0] if port is not None else location
    if not re.fullmatch(_HOST, host) or (port is None and ":" in location and not location.endswith("]")):
        _refuse(text, "its host is malformed")
    if not parts.path.strip("/") or parts.path.startswith("/-") or re.search(r"[?#\\\s]", text):
        _refuse(text, "its path is malformed")
    if scheme == "https":
        bare = f"https://{location}{parts.path}"
        return Url(text=bare, transport="https", host=host, credential=_credential(user) if at else None)
    if at and not re.fullmatch(_USER, user):
        _refuse(text, "its user is malformed; ssh takes no password, but a deploy key")
    return Url(text=f"ssh://{user}{at}{location}{parts.path}", transport="ssh", host=host)


def _credential(userinfo: str) -> str:
    """`user:password` of what stood before the @; a lone token goes in as the user, as hosts of git expect it."""
    user, _, password = userinfo.partition(":")
    return f"{unquote(user)}:{unquote(password)}"


def _local(path: str, local_repositories: Sequence[str]) -> Url:
    if "\0" in path or not path.isprintable():
        _refuse(path, "its path has a control character in it")
    real = os.path.realpath(path)
    for allowed in local_repositories:
        if os.path.commonpath([real, top := os.path.realpath(allowed)]) == top:
            return Url(text=real, transport="local")
    raise SourceRefused(f"{clean_line(path)} is a folder of the server that no git URL may name.", hint=_ALLOW)


def _refuse(text: str, why: str) -> NoReturn:
    shown = re.sub(r"//[^/@]*@", "//…@", clean_line(text))[:120]
    raise SourceRefused(f"The git URL {shown!r} is refused: {why}.", hint=_WAYS)


_REF_FAULTS = (
    (r"\A-", "it starts with a dash"),
    (r"[\x00-\x20\x7f~^:?*\[\\]", "it has a space, a control character, or one of ~ ^ : ? * [ \\ in it"),
    (r"\.\.", "it has two dots in a row"),
    (r"@\{", "it has @{ in it"),
    (r"\A/|/\Z|//", "it has an empty part between slashes"),
    (r"(?:\A|/)\.|\.\Z", "a part of it starts with a dot, or it ends with one"),
    (r"\.lock(?:/|\Z)", "a part of it ends with .lock"),
    (r"\A@\Z", "@ alone is no name"),
)


def _ref_fault(text: str) -> str | None:
    if not text:
        return "it is empty"
    if len(text.encode(errors="replace")) > MAX_REF:
        return f"it is longer than {MAX_REF} bytes"
    if clean_line(text) != text:
        return "it has a control character in it"
    return next((why for pattern, why in _REF_FAULTS if re.search(pattern, text)), None)
