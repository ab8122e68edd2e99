"""Domains: the host names that an environment answers to."""

from __future__ import annotations

from app.adapters import edge
from app.appliance import Appliance
from app.deploy import routing
from app.errors import BadInput
from app.inputs import NewDomain
from app.model import HOST_NAME, Domain


def index(box: Appliance, slug: str) -> list[Domain]:
    """A project's host names: people's own first."""
    return box.store.domains.of(box.store.environments.of(box.store.projects.named(slug)).id)


def add(box: Appliance, slug: str, new: NewDomain, actor: str) -> Domain:
    """Answer to a name from now on. Raises BadInput, and AlreadyExists when another project has it."""
    environment = box.store.environments.of(box.store.projects.named(slug))
    name = normal(new.name)
    domain = box.store.domains.add(environment, name, new.tls or edge.tls_of(name, box.settings), generated=False, actor=actor)
    routing.sync_edge(box)
    return domain


def remove(box: Appliance, slug: str, name: str, actor: str) -> None:
    """Answer to a name no more. Raises NotFound, and Conflict for a generated name."""
    environment = box.store.environments.of(box.store.projects.named(slug))
    box.store.domains.remove(environment, normal(name), actor)
    routing.sync_edge(box)


def normal(name: str) -> str:
    """A host name in lower case and ASCII (IDNA), without a trailing dot. Raises BadInput saying what is wrong."""
    text = name.strip().rstrip(".").lower()
    if any(part in text for part in ("/", ":", "@", " ", "*")):
        raise BadInput(
            f"{name!r} is no host name", hint="Give the bare name, such as www.example.com: no scheme, port, path or *."
        )
    try:
        ascii_name = text.encode("idna").decode() if text else ""
    except UnicodeError as error:
        raise BadInput(f"{name!r} is no host name", hint="Each part has 1 to 63 characters.") from error
    if not HOST_NAME.fullmatch(ascii_name) or "." not in ascii_name:
        raise BadInput(f"{name!r} is no host name", hint="Letters, digits and dashes, with a dot: www.example.com.")
    return ascii_name
