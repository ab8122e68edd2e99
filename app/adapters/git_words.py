"""What git's complaints mean, in words, with the next step. Pure: the text of stderr in, one of our errors out."""

from __future__ import annotations

import base64
import re

import msgspec

from app.adapters.git_url import Url
from app.errors import BadInput, HomeportError, NotFound, OutOfSpace, SourceRefused, TimedOut, Unavailable
from app.text import clean_line

_PRIVATE = (
    "A private repository is read over ssh with a deploy key: use its ssh URL, and add the project's public key to the "
    "repository's deploy keys (read only). `homeport projects show PROJECT` prints the key."
)
_KEY = "Add the project's public key to the repository's deploy keys (read only); `homeport projects show PROJECT` prints it."
_HOST_KEY = (
    "If the host really has a new key, remove its line from known_hosts in the server's data folder and deploy again; "
    "if nobody knows of one, somebody may be in between."
)

_DNS = re.compile(r"Could not resolve host|Name or service not known|Temporary failure in name resolution")
_DOWN = re.compile(
    r"Connection refused|Connection timed out|Failed to connect|No route to host|Network is unreachable|Connection reset"
    r"|Connection closed by|Could not connect|Recv failure|recv error|timed out|TLS connection|gnutls_handshake|SSL_connect",
    re.IGNORECASE,
)
_SLOW = re.compile(r"Operation too slow|transfer closed with outstanding|early EOF|unexpected disconnect", re.IGNORECASE)
_TLS = re.compile(r"certificate", re.IGNORECASE)
_REFUSED = re.compile(
    r"Permission denied|Authentication failed|could not read (?:Username|Password)|terminal prompts disabled"
    r"|returned error: 40[13]|HTTP Basic: Access denied",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"repository .* not found|Repository not found|does not appear to be a git repository|returned error: 404"
    r"|not found: did you run git update-server-info|project you were looking for could not be found|does not exist",
    re.IGNORECASE,
)
_CHANGED = re.compile(r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed")
_FSCK = re.compile(r"^error: object [0-9a-f]+: (.+)$|fsck error", re.MULTILINE)
_PROTOCOL = re.compile(r"transport '([^']*)' not allowed")
_GONE = re.compile(r"not our ref ([0-9a-f]{40})")
_UNADVERTISED = re.compile(r"unadvertised object", re.IGNORECASE)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A URL and what opens it: `user:password` for https, a private OpenSSH key for ssh."""

    url: Url
    credential: str | None = None
    key: bytes | None = None

    def __repr__(self) -> str:
        return f"Source({self.url.text!r})"


def explain(source: Source, text: str) -> HomeportError:
    """The error that git's last words about `source` mean. Foreign text in it is one cleaned line without credentials."""
    url, text = source.url, redacted(text, source.credential)
    host = url.host or url.text
    if _CHANGED.search(text):
        return SourceRefused(f"{host} shows another host key than before, or none that can be trusted.", hint=_HOST_KEY)
    if "No space left on device" in text:
        return OutOfSpace("The disk is full: the source could not be stored.")
    if _DNS.search(text):
        return Unavailable(
            f"The host {host} is not known: its name cannot be resolved.", hint="Look for a typing error in the URL."
        )
    if _FSCK.search(text):
        found = _FSCK.search(text)
        what = clean_line(found[1])[:200] if found and found[1] else "it is malformed"
        return SourceRefused(f"The repository has an object that is not safe to read: {what}.")
    if _REFUSED.search(text):
        return BadInput(f"{host} does not let us read {url.text}.", hint=_KEY if url.transport == "ssh" else _PRIVATE)
    if _MISSING.search(text):
        hint = _KEY if url.transport == "ssh" else _PRIVATE if url.transport == "https" else "Look at the path."
        return NotFound(f"There is no repository {url.text}, or it is private.", hint=f"Check the URL. {hint}")
    return _about_the_connection(url, host, text)


def _about_the_connection(url: Url, host: str, text: str) -> HomeportError:
    if _SLOW.search(text):
        return TimedOut(f"{host} sent the repository too slowly, or broke off.", hint="Deploy again later.")
    if _TLS.search(text):
        hint = "For a private CA start the server with SSL_CERT_FILE set to a bundle that has it."
        return Unavailable(f"The certificate of {host} cannot be trusted: {_last(text)}", hint=hint)
    if _DOWN.search(text):
        return Unavailable(f"{host} does not answer: {_last(text)}", hint="Deploy again later.")
    if gone := _GONE.search(text):
        return unknown_commit(url, gone[1])
    if found := _PROTOCOL.search(text):
        return SourceRefused(f"{url.text} leads on to {clean_line(found[1])}, which is not taken.")
    return Unavailable(f"git could not read {url.text}: {_last(text)}", hint="Check the URL, and deploy again.")


def silent(url: Url) -> TimedOut:
    """Nothing came in time."""
    return TimedOut(f"{url.host or url.text} did not answer in time.", hint="Deploy again later.")


def unknown_ref(url: Url, ref: str, names: list[str]) -> NotFound:
    """No branch or tag is called `ref`; near ones are in the hint."""
    from difflib import get_close_matches

    near = get_close_matches(ref, names, n=3, cutoff=0.5)
    if re.fullmatch(r"[0-9a-f]{7,39}", ref):
        return NotFound(f"{url.text} has no branch or tag {ref!r}.", hint="Give a commit with all its 40 characters.")
    listed = ", ".join(clean_line(name)[:80] for name in near or sorted(names)[:5])
    hint = f"Did you mean {listed}?" if near else f"It has {listed}." if names else "It has no branches yet."
    return NotFound(f"{url.text} has no branch or tag {clean_line(ref)!r}.", hint=hint)


def unknown_commit(url: Url, commit: str) -> NotFound:
    """No such commit can be had."""
    return NotFound(
        f"{url.text} has no commit {commit}, or no longer has it.",
        hint="It may have been force-pushed away: deploy the branch again.",
    )


def not_given_by_id(text: str) -> bool:
    """Whether the host refused to send a commit that no branch or tag points to."""
    return _UNADVERTISED.search(text) is not None


def redacted(text: str, credential: str | None) -> str:
    """`text` without the credential, as it is or as it goes over the wire: a host can send back what it got."""
    if not credential:
        return text
    user, _, password = credential.partition(":")
    for secret in (basic(credential), credential, password, user if not password else ""):
        if len(secret) >= 4:
            text = text.replace(secret, "[redacted]")
    return text


def basic(credential: str) -> str:
    """The value of an HTTP Basic header."""
    return base64.b64encode(credential.encode()).decode()


def _last(text: str) -> str:
    lines = [clean_line(line) for line in text.strip().splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))]
    return (telling or lines or ["it said nothing"])[0][:300]
