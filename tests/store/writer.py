"""Writes rows through the store, and says each one on stdout only after its commit returned.

python tests/store/writer.py DATA ROWS
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from app.settings import Settings
from app.store import Store


def acknowledge(**what: str) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def main() -> None:
    data, rows = sys.argv[1], int(sys.argv[2])
    store = Store(Settings(data=data))
    acknowledge(organization=store.organization.id)
    for number in range(rows):
        project = store.projects.create(store.organization, f"project-{number}", "ada")
        acknowledge(project=project.id)
        store.projects.set_secret(project, "git_credential", f"ada:{number}")
        acknowledge(secret_of=project.id, value=f"ada:{number}")
    store.close()
    acknowledge(closed="yes")


if __name__ == "__main__":
    main()
