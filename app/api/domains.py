"""/v1/projects/{slug}/domains: the host names that it answers to."""

from __future__ import annotations

from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody

from app import domains
from app.api.markers import Actor, Box, Cursor, Limit
from app.api.pages import page
from app.inputs import NewDomain, Page
from app.model import Domain


class Domains(Controller):
    path = "/projects/{slug:str}/domains"
    tags = ["domains"]

    @get(sync_to_thread=True)
    def index(self, box: Box, slug: FromPath[str], limit: Limit = 100, cursor: Cursor = None) -> Page[Domain]:
        """Its host names, generated and added ones."""
        return page(sorted(domains.index(box, slug), key=lambda domain: domain.name), limit, cursor, lambda domain: domain.name)

    @post(sync_to_thread=True)
    def add(self, box: Box, actor: Actor, slug: FromPath[str], data: JSONBody[NewDomain]) -> Domain:
        """Answer to one more host name."""
        return domains.add(box, slug, data, actor)

    @delete("/{name:str}", sync_to_thread=True)
    def remove(self, box: Box, actor: Actor, slug: FromPath[str], name: FromPath[str]) -> None:
        """Answer to it no longer."""
        domains.remove(box, slug, name, actor)
