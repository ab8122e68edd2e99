"""Writes a commit's files into a new folder: bytes as they are in git, no filter, no hook, no name that leads out.

git only lists and prints; the writing is ours, links last, so that no file can go through one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from app.adapters import process
from app.adapters.tree import MAX_PATH, Limits, check_links, check_path, refuse, shown
from app.errors import HomeportError, SourceRefused, TooLarge

MAX_LISTING = 64 << 20
TIMEOUT = 300.0
"""Seconds for one git that lists or prints."""
LINK, MODULE = b"120000", b"160000"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_MODULE_PATH = re.compile(rb"^[ \t]*path[ \t]*=[ \t]*\"?([^\"\r\n]*?)\"?[ \t]*\r?$", re.MULTILINE)


def write(env: Mapping[str, str], commit: str, limits: Limits, into: Path) -> tuple[str, ...]:
    """Write the files of `commit` below the empty folder `into`; returns what a person should know of them.

    `env` says which store. Raises SourceRefused naming a link that leads out, a submodule or an unsafe name; TooLarge.
    """
    entries = _listed(env, commit, limits)
    links = [entry for entry in entries if entry.mode == LINK]
    modules = [entry for entry in entries if entry.mode == MODULE]
    files = [entry for entry in entries if entry.mode not in (LINK, MODULE)]
    if not files:
        raise SourceRefused("The commit has no files.", hint="Commit something that can be run or served.")
    targets = _contents(env, links)
    check_links(targets)
    about = _contents(env, [entry for entry in files if entry.path == b".gitmodules"]) if modules else {}
    strays = check_modules(modules, about.get(b".gitmodules", b""))
    folder = Folder(into)
    _print(env, files, folder.file)
    for path, target in targets.items():
        folder.link(path, target)
    return folder.notes(strays)


class Entry(msgspec.Struct, frozen=True):
    """One line of `git ls-tree -r -z -l`."""

    mode: bytes
    id: bytes
    size: int
    path: bytes


class Listing:
    """Takes what `git ls-tree -r -z -l` prints; a tree that unfolds into too much is stopped while it is listed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rest = b""
        self._printed = 0
        self._bytes = 0
        self.entries: list[Entry] = []

    def __call__(self, chunk: bytes) -> None:
        """Raises TooLarge past a limit, SourceRefused for a bad name."""
        self._printed += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\0")
        for line in lines:
            self._add(_entry(line))
        if self._printed > MAX_LISTING:
            raise TooLarge("The names of the source's files are too many or too long.")

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._bytes += entry.size
        if len(self.entries) > self._limits.entries:
            raise TooLarge(f"The source has more than {self._limits.entries} files.")
        if self._bytes > self._limits.unpacked:
            raise TooLarge(f"The source's files are larger than {self._limits.unpacked >> 20} MiB together.")


class Target(Protocol):
    """Takes the bytes of one blob."""

    def write(self, chunk: bytes, /) -> object:
        """Some of them, in order."""

    def close(self) -> None:
        """That was all."""


class Blobs:
    """Takes what `git cat-file --batch` prints when asked for `entries` in order; each goes to a Target of its own."""

    def __init__(self, entries: Iterable[Entry], target: Callable[[Entry], Target]) -> None:
        self._entries = iter(entries)
        self._target = target
        self._buffer = bytearray()
        self._open: Target | None = None
        self._left = 0

    def __call__(self, chunk: bytes) -> None:
        self._buffer += chunk
        while self._step():
            pass

    def close(self) -> None:
        """Let go of what is open, after a failure."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def done(self) -> None:
        """Raises HomeportError when not every entry was printed."""
        if self._open is not None or next(self._entries, None) is not None:
            raise HomeportError("git did not print every file of the commit.")

    def _step(self) -> bool:
        """Use the next thing in the buffer; False when more must come first."""
        if self._open is None:
            end = self._buffer.find(b"\n")
            if end >= 0:
                self._begin(bytes(self._buffer[:end]))
                del self._buffer[: end + 1]
            return end >= 0
        if not self._buffer:
            return False
        if self._left:
            part = bytes(self._buffer[: self._left])
            self._open.write(part)
            self._left -= len(part)
            del self._buffer[: len(part)]
            return True
        del self._buffer[:1]
        self.close()
        return True

    def _begin(self, header: bytes) -> None:
        entry = next(self._entries, None)
        words = header.split(b" ")
        if entry is None or words != [entry.id, b"blob", str(entry.size).encode()]:
            raise HomeportError("git printed another file than it was asked for: the project's store is damaged.")
        self._left = entry.size
        self._open = self._target(entry)


class Folder:
    """Makes new files and links below `root`, which is empty and ours."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self._made: set[bytes] = {b""}
        self._pointers = 0

    def file(self, entry: Entry) -> Target:
        """Where the bytes of `entry` go. Modes are 644 and 755, whatever the commit or the umask say."""
        path = self._place(entry.path)
        try:
            return _File(self, os.open(path, _NEW, 0o600), 0o755 if entry.mode == b"100755" else 0o644)
        except FileExistsError:
            refuse(entry.path, "is in the commit twice")

    def link(self, path: bytes, target: bytes) -> None:
        """A link. The targets of all must have been checked before."""
        try:
            os.symlink(target, self._place(path))
        except FileExistsError:
            refuse(path, "is in the commit twice")

    def notes(self, strays: Iterable[bytes]) -> tuple[str, ...]:
        """What a person should know of the files; makes the empty folders that `strays` are."""
        said = []
        for path in strays:
            self._place(path + b"/")
            said.append(f"{shown(path)} is a repository of its own that nothing says where to get: left empty.")
        if self._pointers:
            count = "1 file only points" if self._pointers == 1 else f"{self._pointers} files only point"
            said.append(f"{count} to Git LFS, which Homeport does not fetch.")
        return tuple(said)

    def pointer(self) -> None:
        """One more file only points to Git LFS."""
        self._pointers += 1

    def _place(self, path: bytes) -> bytes:
        """The full path, its folders made."""
        parent = path.rpartition(b"/")[0]
        missing = []
        while parent not in self._made:
            missing.append(parent)
            parent = parent.rpartition(b"/")[0]
        for folder in reversed(missing):
            try:
                os.mkdir(self._root + b"/" + folder)
            except FileExistsError:
                refuse(folder, "is in the commit twice, as a file and as a folder")
            os.chmod(self._root + b"/" + folder, 0o755)  # noqa: S103 - the umask must not decide what an image holds
            self._made.add(folder)
        return self._root + b"/" + path


class _File:
    def __init__(self, folder: Folder, fd: int, mode: int) -> None:
        self._folder = folder
        self._fd = fd
        self._start = b""
        os.fchmod(fd, mode)

    def write(self, chunk: bytes) -> None:
        self._start += chunk[: len(_POINTER) - len(self._start)]
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        if self._start == _POINTER:
            self._folder.pointer()
        os.close(self._fd)


class Small:
    """A Target that keeps what is written, for link targets and .gitmodules; at most MAX_PATH bytes of the one kind."""

    def __init__(self, kept: dict[bytes, bytes], entry: Entry) -> None:
        if entry.size > (MAX_PATH if entry.mode == LINK else 1 << 20):
            refuse(entry.path, "is too large for what it is")
        self._kept = kept
        self._path = entry.path
        self._bytes = bytearray()

    def write(self, chunk: bytes) -> None:
        self._bytes += chunk

    def close(self) -> None:
        self._kept[self._path] = bytes(self._bytes)


def check_modules(entries: Iterable[Entry], gitmodules: bytes) -> tuple[bytes, ...]:
    """The folders of entries that point into other repositories, by accident: nothing says where those are.

    Raises SourceRefused for a real submodule, one that .gitmodules names: its files would be missing from the build.
    """
    known = set(_MODULE_PATH.findall(gitmodules))
    strays = []
    for entry in entries:
        if entry.mode == MODULE and entry.path in known:
            refuse(entry.path, "is a git submodule, which Homeport does not fetch: put its files into the repository")
        if entry.mode == MODULE:
            strays.append(entry.path)
    return tuple(strays)


def _entry(line: bytes) -> Entry:
    head, _, path = line.partition(b"\t")
    mode, _, blob, size = head.split()
    return Entry(mode=mode, id=blob, size=0 if size == b"-" else int(size), path=check_path(path))


def _listed(env: Mapping[str, str], commit: str, limits: Limits) -> list[Entry]:
    listing = Listing(limits)
    argv = ["git", "ls-tree", "-r", "-z", "-l", "--full-tree", commit]
    process.raise_if_failed(process.pipe(argv, sink=listing, env=env, timeout=TIMEOUT))
    return listing.entries


def _contents(env: Mapping[str, str], entries: list[Entry]) -> dict[bytes, bytes]:
    """Of a few short files, by path."""
    kept: dict[bytes, bytes] = {}
    if entries:
        _print(env, entries, lambda entry: Small(kept, entry))
    return kept


def _print(env: Mapping[str, str], entries: list[Entry], target: Callable[[Entry], Target]) -> None:
    """Have git print the files in order, each into its target."""
    blobs = Blobs(entries, target)
    source = [b"".join(entry.id + b"\n" for entry in entries)]
    try:
        argv = ["git", "cat-file", "--batch", "--buffer"]
        completed = process.pipe(argv, source=source, sink=blobs, env=env, timeout=TIMEOUT)
    finally:
        blobs.close()
    process.raise_if_failed(completed)
    blobs.done()
