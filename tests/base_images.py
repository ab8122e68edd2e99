"""Has every base image that a recipe is there for: here already, pulled, or made from Debian's packages."""

from __future__ import annotations

import sys
import tempfile
import time

from app.adapters.bases import Bases, fits, recipes
from app.adapters.docker import Docker
from app.adapters.process import Cancel
from app.errors import HomeportError
from app.settings import Settings


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory(prefix="homeport-bases-") as data:
        settings = Settings(data=data)
        bases = Bases(Docker(settings), settings)
        for recipe in recipes():
            if not fits(recipe):
                print(f"{recipe.image}: this machine does not have what its recipe needs")
                continue
            begin, lines = time.monotonic(), list[str]()
            try:
                bases.ensure(recipe.image, lines.append, Cancel())
            except HomeportError as error:
                failed = 1
                print("\n".join([*lines[-20:], f"{recipe.image}: {error.cause}"]), file=sys.stderr)
            else:
                print(f"{recipe.image}: {time.monotonic() - begin:.1f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
