"""Publishes built sites: a folder of files, whole or not at all, whose times come from the files' content.

Caddy makes its ETag of a file's size and mtime, so two builds with equal content answer 304 to each other's readers, and two
with other content never do.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

Log = Callable[[str], None]

FIRST_SECOND, LAST_SECOND = 1_000_000_000, 1_700_000_000
GZIP_FROM, GZIP_TO = 1 << 10, 8 << 20
"""Sizes of files that get a compressed copy beside them."""
TEXT = frozenset(
    {".css", ".csv", ".htm", ".html", ".ico", ".js", ".json", ".map", ".md", ".mjs", ".otf", ".rss", ".svg", ".ttf", ".txt"}
    | {".wasm", ".webmanifest", ".xml", ".yaml", ".yml"}
)
NEVER = frozenset({"homeport.toml", "Procfile"})
"""Files at the top of a repository that are about its deploys, not of the site."""


def publish(source: Path, folder: Path, log: Log) -> str:
    """Copy the site in `source` to `folder`, which appears at once with all of it. Returns the digest of its files.

    Hidden files stay behind, but for `.well-known`; symlinks become what they point at, inside `source` only.
    """
    draft = folder.with_name(f"{folder.name}.tmp-{secrets.token_hex(6)}")
    draft.mkdir(parents=True)
    try:
        written = [path for name in _names(source, log) for path in _copy(source, draft, name)]
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(_sync, [*written, *_folders(draft)]))
        _take_place(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync(folder.parent)
    return digest(folder)


def digest(folder: Path) -> str:
    """What the files of a published site are: names, sizes, and the times that stand for their content."""
    summary = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        summary.update(f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{summary.hexdigest()}"


def time_of(content_digest: bytes) -> int:
    """The mtime, in nanoseconds since 1970, that stands for a content of this sha256: always in the past."""
    seconds = FIRST_SECOND + int.from_bytes(content_digest[:8], "big") % (LAST_SECOND - FIRST_SECOND)
    return seconds * 1_000_000_000 + int.from_bytes(content_digest[8:16], "big") % 1_000_000_000


def is_published(name: PurePosixPath) -> bool:
    """Whether a file of the source belongs to the site, by its path in it."""
    hidden = any(part.startswith(".") and part != ".well-known" for part in name.parts)
    return not hidden and str(name) not in NEVER


def _names(source: Path, log: Log) -> Iterator[PurePosixPath]:
    """The files of the site, symlinks resolved to what may be read in their place."""
    root = source.resolve()
    for at, folders, files in os.walk(root):
        here = Path(at).relative_to(root)
        folders[:] = sorted(name for name in folders if is_published(PurePosixPath(here / name)))
        for name in [*files, *(name for name in folders if (Path(at) / name).is_symlink())]:
            relative = PurePosixPath(here / name)
            if not is_published(relative):
                continue
            if _readable(root, Path(at) / name):
                yield relative
            else:
                log(f"note: {relative} is not published: it is no file of the site")


def _readable(root: Path, path: Path) -> bool:
    real = path.resolve()
    return real.is_relative_to(root) and real.is_file() and is_published(PurePosixPath(real.relative_to(root)))


def _copy(source: Path, draft: Path, name: PurePosixPath) -> list[Path]:
    target = draft / name
    target.parent.mkdir(parents=True, exist_ok=True)
    size = (source / name).stat().st_size
    if size > GZIP_TO:
        return [_copy_large(source / name, target)]
    content = (source / name).read_bytes()
    written = [_write(target, content)]
    if target.suffix.lower() in TEXT and size >= GZIP_FROM and not (source / f"{name}.gz").exists():
        small = gzip.compress(content, compresslevel=6, mtime=0)
        if len(small) < size:
            written.append(_write(target.with_name(f"{target.name}.gz"), small))
    return written


def _copy_large(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        return _stamp(target, hashlib.file_digest(file, "sha256").digest())


def _write(target: Path, content: bytes) -> Path:
    target.write_bytes(content)
    return _stamp(target, hashlib.sha256(content).digest())


def _stamp(target: Path, content_digest: bytes) -> Path:
    target.chmod(0o644)
    os.utime(target, ns=(time_of(content_digest),) * 2)
    return target


def _folders(draft: Path) -> list[Path]:
    return [Path(at) for at, _, _ in os.walk(draft)]


def _take_place(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(draft)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
