"""What a tree of files may hold, wherever it comes from: names and links that stay inside, and bounded numbers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import NoReturn

import msgspec

from app.errors import SourceRefused, TooLarge
from app.text import clean, clean_line

MAX_PATH = 3072
"""Bytes of a path in the tree: with the data folder before it, below the 4096 that the kernel takes."""
MAX_COMPONENT = 255
MAX_DEPTH = 64
MAX_LINK_HOPS = 40
LINK_STEPS = 1_000_000
"""Steps that resolving all links of a tree may take together, so that entangled ones cost nobody time."""

# Characters that HFS+ leaves out when it compares names, so that `.g\u200cit` would be `.git` there.
_IGNORED_BY_HFS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may come in. `compressed` is what is received, `unpacked` the sum of the files; bytes."""

    compressed: int
    unpacked: int
    entries: int = 100_000
    ratio: int = 200
    """Unpacked bytes per received byte, asked once more than `ratio_from` were unpacked."""
    ratio_from: int = 64 << 20


def refuse(name: bytes, why: str) -> NoReturn:
    """Raises SourceRefused naming a member of the tree."""
    raise SourceRefused(f"{shown(name)} {why}.")


def shown(name: bytes) -> str:
    """A name as people may see it: one line, short."""
    text = clean_line(name.decode(errors="replace"))
    return repr(text if len(text) <= 120 else f"{text[:100]}…{text[-16:]}")


def check_path(path: bytes) -> bytes:
    """`path` when it may be a file's place in a tree: relative, no `..` or `.git`, UTF-8 without control characters, short.

    Raises SourceRefused naming it.
    """
    if path.startswith(b"/"):
        refuse(path, "is an absolute path")
    if len(path) > MAX_PATH:
        refuse(path, f"has a path longer than {MAX_PATH} bytes")
    parts = path.split(b"/")
    if len(parts) > MAX_DEPTH:
        refuse(path, f"is deeper than {MAX_DEPTH} folders")
    for part in parts:
        if why := _part_fault(part):
            refuse(path, why)
    return path


def _part_fault(part: bytes) -> str | None:
    if part in (b"", b".", b".."):
        return "has an empty part, `.` or `..` in its path"
    if len(part) > MAX_COMPONENT:
        return f"has a name longer than {MAX_COMPONENT} bytes"
    try:
        text = part.decode()
    except UnicodeDecodeError:
        return "has a name that is not UTF-8"
    if text.isascii() and text.isalnum():
        return None
    if clean(text) != text or "\n" in text or "\t" in text:
        return "has a control character in its name"
    return "would write into git's own folder" if _is_git(text) else None


def _is_git(text: str) -> bool:
    """Whether some file system takes this name for `.git`: any case, Windows' short name, trailing dots and streams."""
    name = _IGNORED_BY_HFS.sub("", text).split(":")[0].rstrip(" .").casefold()
    return name in (".git", "git~1")


def check_links(links: Mapping[bytes, bytes]) -> None:
    """`links`: path to target, of every symbolic link of a tree. Raises SourceRefused for one that leads out of it.

    Links are followed through other links, as the kernel would. A target that is not there is harmless and allowed.
    """
    budget = LINK_STEPS
    for link in links:
        budget -= _steps(link, links, budget)


def _steps(link: bytes, links: Mapping[bytes, bytes], budget: int) -> int:
    """Resolve one link in the tree; how many steps it took."""
    place = link.split(b"/")[:-1]
    ahead = deque(_parts(link, links[link]))
    hops, steps = 1, 0
    while ahead:
        steps += 1
        if steps > budget:
            raise TooLarge("The links of the source are too entangled to be checked.", hint="Replace them with files.")
        part = ahead.popleft()
        if part == b"..":
            if not place:
                refuse(link, f"is a link that leads out of the source, to {shown(links[link])}")
            place.pop()
            continue
        place.append(part)
        path = b"/".join(place)
        if path in links:
            hops += 1
            if hops > MAX_LINK_HOPS:
                refuse(link, f"is a link that leads in a circle, to {shown(links[link])}")
            place.pop()
            ahead.extendleft(reversed(_parts(link, links[path])))
    return steps


def _parts(link: bytes, target: bytes) -> list[bytes]:
    if not target or b"\0" in target or len(target) > MAX_PATH:
        refuse(link, "is a link without a usable target")
    if target.startswith(b"/"):
        refuse(link, f"is a link that leads out of the source, to {shown(target)}")
    return [part for part in target.split(b"/") if part not in (b"", b".")]
