"""Turns an uploaded archive into the commands of `git fast-import`: no file of it ever gets its own name on a disk."""

from __future__ import annotations

from collections.abc import Iterator

from app.adapters.tar import Member, Tar
from app.adapters.tree import check_links
from app.errors import HomeportError, SourceRefused
from app.text import clean

MAX_MESSAGE = 16 << 10
DIRTY = "Uncommitted-changes: yes"
"""Trailer of a commit made of a working folder that differs from what its own git has."""

_BATCH = 1 << 17
_REF = b"refs/incoming/upload"
_NOTHING = b"0" * 40
# Fixed, so that equal files and an equal message make an equal commit, whenever they come.
_COMMITTER = b"Homeport <homeport@localhost> 0 +0000"


def commands(tar: Tar, message: str, dirty: bool) -> Iterator[bytes]:
    """What fast-import reads: one commit of everything in `tar`, on no branch. It answers as `answer` reads.

    Raises what `Tar` raises, and SourceRefused for an empty archive or a link that leads out.
    """
    batch = bytearray(_head(_text(message, dirty)))
    links: dict[bytes, bytes] = {}
    files = 0
    for member in tar:
        if member.kind == "folder":
            continue
        files += 1
        if member.kind == "link":
            links[member.name] = member.target
        batch += _entry(member)
        for chunk in _content(tar, member):
            batch += chunk
            if len(batch) >= _BATCH:
                yield bytes(batch)
                batch.clear()
        batch += b"\n"
    if not files:
        raise SourceRefused("There are no files to deploy.", hint="Look at what .gitignore and .dockerignore leave out.")
    check_links(links)
    yield bytes(batch + _foot())


def answer(output: bytes) -> tuple[str, str]:
    """Commit and tree, of what fast-import printed. Raises HomeportError when it is neither."""
    words = output.split()
    if len(words) != 4 or words[1:3] != [b"040000", b"tree"]:
        raise HomeportError("git fast-import did not say which commit it made.")
    return words[0].decode(), words[3].decode()


def _head(message: bytes) -> bytes:
    return b"feature done\ncommit %s\nmark :1\ncommitter %s\ndata %d\n%s\n" % (_REF, _COMMITTER, len(message), message)


def _foot() -> bytes:
    """Ask for the ids, and give the name up again: a ref before its objects are in place would be a broken one."""
    return b'get-mark :1\nls :1 ""\nreset %s\nfrom %s\n\ndone\n' % (_REF, _NOTHING)


def _entry(member: Member) -> bytes:
    mode = b"120000" if member.kind == "link" else b"100755" if member.executable else b"100644"
    size = len(member.target) if member.kind == "link" else member.size
    return b'M %s inline "%s"\ndata %d\n' % (mode, _quoted(member.name), size)


def _content(tar: Tar, member: Member) -> Iterator[bytes]:
    return iter([member.target]) if member.kind == "link" else tar.data()


def _quoted(name: bytes) -> bytes:
    """For between double quotes; names have no control characters by then."""
    return name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _text(message: str, dirty: bool) -> bytes:
    """The commit's message: cleaned, never empty, and with the trailer when the folder was dirty."""
    text = clean(message).strip().encode()[:MAX_MESSAGE].decode(errors="ignore") or "Upload"
    return (f"{text}\n\n{DIRTY}\n" if dirty else f"{text}\n").encode()
