"""No committed file names the host of a package index or mirror, or a path of the machine it was written on."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# In pieces, so that this file does not name them either.
FORBIDDEN = [
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry.npm" + "js.org",
    "deb.debian" + ".org",
    "security.debian" + ".org",
    "snapshot.debian" + ".org",
    "ftp.debian" + ".org",
    "proxy.golang" + ".org",
    "/root/" + "scratch",
    "/root/" + ".pyenv",
    "/wo" + "rk/ma" + "in",
    "/wo" + "rk/sha" + "red",
    "/opt/" + "pypi",
    "/opt/" + "wheels",
]


def committed_files() -> list[Path]:
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_host_of_a_registry_and_no_path_of_this_machine() -> None:
    files = committed_files()
    found = []
    for file in files:
        text = file.read_bytes().decode("utf-8", "replace").lower()
        found += [f"{file.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]

    assert len(files) > 50
    assert found == []
