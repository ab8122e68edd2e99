"""The disk, written so that a crash at any instant leaves the old content or the new, never half of one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import BadInput, OutOfSpace

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """Every method raises OutOfSpace when the disk or the quota is full, and leaves what was there before."""

    def write_atomic(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Replace `path` by `content`; its folder is made when missing."""
        with _room(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = _draft(path)
            try:
                _write(draft, content, mode)
                os.rename(draft, path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            _sync(path.parent)

    def publish(self, folder: Path, files: Mapping[str, str], links: Mapping[str, str]) -> None:
        """Make `folder` with these files (name to text) and symlinks (name to target), all or nothing.

        A folder that exists is left alone: its name says its content. Raises BadInput for a name with a slash.
        """
        for name in (*files, *links):
            if "/" in name or name in ("", ".", ".."):
                raise BadInput(f"{name!r} is no file name")
        if folder.is_dir():
            return
        with _room(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = _draft(folder)
            try:
                _fill(draft, files, links)
                _rename_new(draft, folder)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            _sync(folder.parent)

    def swap(self, link: Path, target: str) -> None:
        """Point the symlink `link` at `target`; a reader sees the old one or the new one at every instant."""
        if self.target(link) == target:
            return
        with _room(link):
            draft = _draft(link)
            os.symlink(target, draft)
            try:
                os.rename(draft, link)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            _sync(link.parent)

    def target(self, link: Path) -> str | None:
        """What a symlink points at; None when it does not exist."""
        try:
            return os.readlink(link)
        except FileNotFoundError:
            return None

    def remove(self, path: Path) -> None:
        """Remove a file, a symlink or a whole tree: gone under its name at once. A missing one is no error."""
        grave = _draft(path)
        try:
            os.rename(path, grave)
        except FileNotFoundError:
            return
        _sync(path.parent)
        if grave.is_dir() and not grave.is_symlink():
            shutil.rmtree(grave)
        else:
            grave.unlink()


@contextmanager
def _room(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace(f"no room left on the disk to write {path}") from error
        raise


def _draft(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp-{secrets.token_hex(6)}")


def _fill(draft: Path, files: Mapping[str, str], links: Mapping[str, str]) -> None:
    draft.mkdir()
    for name, text in files.items():
        _write(draft / name, text.encode(), 0o600)
    for name, target in links.items():
        os.symlink(target, draft / name)
    _sync(draft)


def _rename_new(draft: Path, folder: Path) -> None:
    try:
        os.rename(draft, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(draft)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        with suppress(OSError):
            os.close(descriptor)
