"""`homeport domains`: the host names that a project answers to."""

from __future__ import annotations

from app.inputs import NewDomain
from tui.grammar import Verbs, with_project
from tui.session import Session


def add(verbs: Verbs) -> None:
    noun = verbs.noun("domains", "list, add and remove host names")
    with_project(noun.add("list", index, "list the host names"))
    parser = noun.add("add", attach, "answer to one more host name")
    with_project(parser)
    parser.add_argument("name", metavar="NAME", help="the host name, such as www.example.com")
    parser.add_argument(
        "--tls", choices=("acme", "internal", "off"), metavar="TLS", help="acme, internal or off (default: by name)"
    )
    parser = noun.add("remove", detach, "answer to a host name no longer")
    with_project(parser)
    parser.add_argument("name", metavar="NAME", help="the host name")


def index(session: Session) -> None:
    """Generated ones are marked: they cannot be removed."""
    out = session.out
    found = list(session.client.domains.index(session.project()))
    for domain in found if out.json else ():
        out.emit(domain)
    if not out.json and found:
        out.table(("NAME", "TLS", "FROM"), [[one.name, one.tls, "homeport" if one.generated else "you"] for one in found])


def attach(session: Session) -> None:
    """Raises AlreadyExists for a name of another project."""
    domain = session.client.domains.add(session.project(), NewDomain(name=session.arguments.name, tls=session.arguments.tls))
    if session.out.json:
        session.out.emit(domain)
    session.out.say(f"added {domain.name} (TLS: {domain.tls})")


def detach(session: Session) -> None:
    """Raises Conflict for a generated one."""
    slug, name = session.project(), session.arguments.name
    session.client.domains.remove(slug, name)
    if session.out.json:
        session.out.emit({"project": slug, "name": name, "removed": True})
    session.out.say(f"removed {name}")
