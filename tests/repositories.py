"""Makes small git repositories for tests, also such that no honest git would make."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.test",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.test",
}


def git(folder: Path, *arguments: str, given: bytes = b"") -> str:
    """What git prints in `folder`."""
    argv = ["git", "-C", str(folder), *arguments]
    return subprocess.run(argv, env=ENV, input=given, capture_output=True, check=True, timeout=60).stdout.decode().strip()


def repository(folder: Path, files: Mapping[str, str], *, message: str = "First") -> str:
    """A repository with one commit on `main`; returns the commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    return commit(folder, files, message=message)


def commit(folder: Path, files: Mapping[str, str], *, message: str = "Next") -> str:
    """One more commit; returns it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def blob(folder: Path, content: bytes) -> str:
    """The id of a stored blob."""
    return git(folder, "hash-object", "-w", "--stdin", given=content)


def tree(folder: Path, *entries: tuple[str, bytes, str]) -> str:
    """A tree of (mode, name, id) as they are: no name is too strange, no order is made."""
    body = b"".join(b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(target)) for mode, name, target in entries)
    return git(folder, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=body)


def commit_tree(folder: Path, top: str, branch: str = "evil") -> str:
    """A commit of that tree on a branch."""
    made = git(folder, "commit-tree", top, "-m", "Evil")
    git(folder, "update-ref", f"refs/heads/{branch}", made)
    return made


def link_to(folder: Path, links: Mapping[str, str]) -> str:
    """A commit of one file and top-level links."""
    entries = [("120000", name.encode(), blob(folder, target.encode())) for name, target in links.items()]
    entries.append(("100644", b"zz-file", blob(folder, b"content")))
    return commit_tree(folder, tree(folder, *sorted(entries, key=lambda entry: entry[1])))


def tar(files: Mapping[str, str | bytes]) -> io.BytesIO:
    """An archive of plain files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            content = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    out.seek(0)
    return out


def refs(store: Path) -> list[str]:
    """The names of all references."""
    return git(store, "for-each-ref", "--format=%(refname)").split()


def left(data: Path) -> list[str]:
    """What should not be there when nothing runs."""
    return [path.name for pattern in ("incoming-*", "*.lock", "*crash*", "tmp_*") for path in data.rglob(pattern)]
