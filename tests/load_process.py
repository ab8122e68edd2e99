"""The load generator as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

GENERATOR = Path(__file__).resolve().parent / "load.py"


class LoadProcess:
    """`with LoadProcess(url, 200) as load: …`, then `load.report`. `prefix` is argv that goes before it."""

    def __init__(
        self, url: str, rate: float, *, seen: str | None = None, timeout: float = 10.0, prefix: Sequence[str] = ()
    ) -> None:
        argv = [*prefix, sys.executable, str(GENERATOR), "--url", url, "--rate", str(rate), "--seconds", "0"]
        self._argv = [*argv, "--timeout", str(timeout), *(["--seen", seen] if seen else [])]
        self.report: dict[str, Any] = {}

    def __enter__(self) -> LoadProcess:
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert line == "started\n", f"the load generator got no answer: {line}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        out, _err = self._process.communicate(timeout=60)
        self.report = json.loads(out)
