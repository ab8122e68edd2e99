"""Asking an application whether it is well, directly at its own address."""

from __future__ import annotations

import http.client

from app.model import HealthCheck


def ask(host: str, port: int, path: str, name: str, timeout: float) -> int | None:
    """The status that GET `path` answers, asked under the host name `name`; None when there is no answer in `timeout` seconds."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    headers = {"Host": name, "User-Agent": "homeport-health", "Connection": "close"}
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def is_well(status: int | None, health: HealthCheck) -> bool:
    """200 to 399 on a path that somebody chose, anything below 500 on `/`."""
    if status is None:
        return False
    return 200 <= status < 400 if health.path else status < 500
