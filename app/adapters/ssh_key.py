"""Deploy keys: made and read by ssh-keygen, in a private folder that is gone afterwards."""

from __future__ import annotations

from pathlib import Path

from app.adapters import process
from app.adapters.git_access import private_folder, write_secret
from app.errors import BadInput

COMMENT = "homeport"
MAX_KEY = 16 << 10
_HINT = "Give the private half of an OpenSSH key without a passphrase, or let Homeport make one."


def generate(data: Path) -> tuple[bytes, str]:
    """A new Ed25519 key: private (OpenSSH's format) and public half."""
    with private_folder(data) as folder:
        path = folder / "key"
        process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", COMMENT, "-f", str(path)])
        return path.read_bytes(), path.with_suffix(".pub").read_text().strip()


def public_of(private: str, data: Path) -> str:
    """The public half. Raises BadInput when `private` is no key, or has a passphrase."""
    if len(private) > MAX_KEY or "PRIVATE KEY" not in private:
        raise BadInput("That is no private key.", hint=_HINT)
    with private_folder(data) as folder:
        path = folder / "key"
        write_secret(path, private.strip().encode() + b"\n")
        completed = process.run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], check=False)
    if completed.exit_code:
        raise BadInput("The private key cannot be read: it is damaged or has a passphrase.", hint=_HINT)
    kind, key = completed.stdout.decode().split()[:2]
    return f"{kind} {key} {COMMENT}"
