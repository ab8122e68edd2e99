"""Packs a working folder for `homeport deploy`: which files go, and the tar stream that they go in.

`survey` looks (and says what people want to know before anything is sent), `Archive` streams, `pack` does both.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from app import ignores
from app.adapters import process
from app.errors import BadInput, Conflict, NotFound, Unavailable

BLOCK = 512
WHOLE = 1 << 20
"""Files up to this size are read at once, so that their size in the archive is what was read."""
MAX_FILE = 8 << 30
_SAMPLE = 1 << 18
_WORTH_IT = 0.9
_DOCKERFILE = "Dockerfile"
_ALWAYS = {_DOCKERFILE, ".dockerignore", "homeport.toml", "Procfile"}
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
_END = b"\0" * (2 * BLOCK)


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to send from `root`: relative names in order, and what git says of the folder.

    `dirty` is true when files differ from `commit`; without git there is nothing to compare, and it is false.
    """

    root: Path
    names: tuple[bytes, ...]
    commit: str | None = None
    branch: str | None = None
    message: str = ""
    dirty: bool = False


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent: how many files, how many bytes of them, and what git says of the folder."""

    files: int
    bytes: int
    dirty: bool
    message: str
    commit: str | None


def pack(root: Path, out: BinaryIO, *, compress: bool = False) -> Packed:
    """Write the files of `root` to `out` as a tar. Raises NotFound, BadInput and Conflict as `survey` and `Archive` do."""
    found = survey(root)
    archive = Archive(found, compress=compress)
    for chunk in archive:
        out.write(chunk)
    return Packed(files=archive.files, bytes=archive.bytes, dirty=found.dirty, message=found.message, commit=found.commit)


def survey(root: Path) -> Survey:
    """Look at a folder. In a git work tree git lists the files (tracked ones, and new ones that are not ignored).

    .dockerignore takes more away, but never what says how to build. Raises NotFound for no folder, BadInput for none of
    any use.
    """
    if not root.is_dir():
        raise NotFound(f"{root} is no folder.", hint="Give the folder of the project.")
    listed = _git_files(root)
    names = sorted(_kept(root, listed or set(ignores.walk(os.fsencode(root)))))
    if not names:
        raise BadInput(f"There is nothing to send in {root}.", hint="Look at its .gitignore and .dockerignore.")
    if listed is None:
        return Survey(root=root, names=tuple(names))
    return _described(root, tuple(names))


class Archive:
    """A tar of what `survey` found: equal folders give equal bytes. Iterate once; `files` and `bytes` count what went.

    Raises Conflict for a file that shrinks while it is read, BadInput for one that cannot be read. What vanishes before
    its turn, sockets, pipes and devices are left out.
    """

    def __init__(self, survey: Survey, *, compress: bool = False) -> None:
        self._survey = survey
        self._compress = compress
        self.files = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return _squeezed(self._plain()) if self._compress else _batched(self._plain())

    def _plain(self) -> Iterator[bytes]:
        root = os.fsencode(self._survey.root)
        for name in self._survey.names:
            path = os.path.join(root, name)
            try:
                mode = os.lstat(path).st_mode
                if stat.S_ISLNK(mode):
                    yield header(name, link=os.readlink(path))
                    self.files += 1
                elif stat.S_ISREG(mode):
                    yield from self._file(name, path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if error.errno == errno.ELOOP:
                    continue
                hint = "Make it readable, or leave it out with .gitignore."
                raise BadInput(f"{os.fsdecode(name)} cannot be read: {error.strerror}.", hint=hint) from error
        yield _END

    def _file(self, name: bytes, path: bytes) -> Iterator[bytes]:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return
            executable = bool(status.st_mode & stat.S_IXUSR)
            if status.st_size <= WHOLE:
                content = file.read(WHOLE + 1)
                if len(content) <= WHOLE:
                    yield header(name, size=len(content), executable=executable) + content + _padding(len(content))
                    self._count(len(content))
                    return
                file.seek(0)
            size = os.fstat(fd).st_size
            yield header(name, size=size, executable=executable)
            yield from _exactly(file, size, name)
            yield _padding(size)
            self._count(size)

    def _count(self, size: int) -> None:
        self.files += 1
        self.bytes += size


def header(name: bytes, *, size: int = 0, executable: bool = False, link: bytes | None = None) -> bytes:
    """The tar header of a file or link: no owner, no time. Long names go before it as GNU tar writes them."""
    if size >= MAX_FILE:
        raise BadInput(f"{os.fsdecode(name)} is {size >> 30} GiB large.", hint="Leave it out with .gitignore.")
    before = b""
    if len(name) > 100:
        before += _block(b"././@LongLink", b"L", len(name) + 1, b"") + name + b"\0" + _padding(len(name) + 1)
    if link is not None and len(link) > 100:
        before += _block(b"././@LongLink", b"K", len(link) + 1, b"") + link + b"\0" + _padding(len(link) + 1)
    mode = b"0000755" if executable else b"0000644"
    return before + _block(name[:100], b"0" if link is None else b"2", size, (link or b"")[:100], mode)


def _block(name: bytes, kind: bytes, size: int, link: bytes, mode: bytes = b"0000644") -> bytes:
    head = name.ljust(100, b"\0") + mode + b"\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    tail = kind + link.ljust(100, b"\0") + b"ustar  \0"
    total = sum(head) + sum(tail) + 8 * ord(" ")
    return (head + b"%06o\0 " % total + tail).ljust(BLOCK, b"\0")


def _padding(size: int) -> bytes:
    return b"\0" * (-size % BLOCK)


def _exactly(file: io.FileIO, size: int, name: bytes) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(size, WHOLE))
        if not chunk:
            raise Conflict(f"{os.fsdecode(name)} shrank while it was read.", hint="Deploy again when nothing writes it.")
        size -= len(chunk)
        yield chunk


def _batched(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Small parts together: one write for many files."""
    batch = bytearray()
    for part in parts:
        batch += part
        if len(batch) >= _SAMPLE:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)


def _squeezed(parts: Iterator[bytes]) -> Iterator[bytes]:
    """gzip of `parts` when their start gets smaller by it; else as they are. The reader sees which it is."""
    batches = _batched(parts)
    first = next(batches, b"")
    if len(zlib.compress(first, 1)) > _WORTH_IT * len(first):
        yield first
        yield from batches
        return
    gzip = zlib.compressobj(1, zlib.DEFLATED, 31)
    for batch in itertools.chain([first], batches):
        if squeezed := gzip.compress(batch):
            yield squeezed
    yield gzip.flush()


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What the user's git prints about `folder`; None where it has nothing to say, or there is no git."""
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
    try:
        completed = process.run([*_GIT, *arguments], cwd=folder, env=env, check=False)
    except Unavailable:
        return None
    return None if completed.exit_code else completed.stdout


def _git_files(folder: Path) -> set[bytes] | None:
    """What git knows of and does not ignore, with the files of submodules; None outside a work tree.

    Empty for a folder that is ignored itself, such as the output of a build.
    """
    output = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if output is None:
        return None
    names: set[bytes] = set()
    for name in filter(None, output.split(b"\0")):
        inner = folder / os.fsdecode(name)
        if not inner.is_dir() or inner.is_symlink():
            names.add(name)
        elif (inner / ".git").exists():
            names |= {name.rstrip(b"/") + b"/" + below for below in _git_files(inner) or ()}
    return names


def _described(root: Path, names: tuple[bytes, ...]) -> Survey:
    """With what git says of the folder's commit and of changes since."""
    status = (_git(root, "status", "--porcelain=v2", "--branch", "-z", "--", ".") or b"").decode(errors="replace")
    lines = [line for line in status.split("\0") if line]
    said = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit = said.get("branch.oid", "(initial)")
    branch = said.get("branch.head", "(detached)")
    dirty = any(not line.startswith("# ") for line in lines)
    if commit == "(initial)":
        return Survey(root=root, names=names, branch=_unless_none(branch), dirty=True)
    message = (_git(root, "log", "-1", "--format=%s", "--no-show-signature") or b"").decode(errors="replace").strip()
    return Survey(root=root, names=names, commit=commit, branch=_unless_none(branch), message=message, dirty=dirty)


def _unless_none(branch: str) -> str | None:
    return None if branch == "(detached)" else branch


def _kept(root: Path, names: set[bytes]) -> Iterator[bytes]:
    """Without what .dockerignore leaves out."""
    dockerfile = _dockerfile(root)
    rules = _dockerignore(root, dockerfile)
    always = {*_ALWAYS, dockerfile, f"{dockerfile}.dockerignore"}
    for name in names:
        path = os.fsdecode(name)
        if rules is None or path in always or not rules.excludes(path):
            yield name


def _dockerignore(root: Path, dockerfile: str) -> ignores.Dockerignore | None:
    """Of the Dockerfile alone if there is one for it, else the folder's."""
    for path in (root / f"{dockerfile}.dockerignore", root / ".dockerignore"):
        if path.is_file():
            return ignores.Dockerignore(path.read_text(encoding="utf-8", errors="surrogateescape"))
    return None


def _dockerfile(root: Path) -> str:
    """Which file says how to build: homeport.toml's, else the usual one. A broken homeport.toml is refused later."""
    path = root / "homeport.toml"
    if not path.is_file():
        return _DOCKERFILE
    import tomllib

    try:
        build = tomllib.loads(path.read_text()).get("build")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return _DOCKERFILE
    named = build.get("dockerfile") if isinstance(build, dict) else None
    return os.path.normpath(named) if isinstance(named, str) else _DOCKERFILE
