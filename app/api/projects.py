"""/v1/projects: what the box serves."""

from __future__ import annotations

from litestar import Controller, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from app import deployments, projects
from app.api.markers import Actor, Box, Cursor, Limit
from app.api.pages import page
from app.inputs import NewProject, Page, ProjectLine, ProjectPatch, ProjectStatus
from app.model import Project


class Projects(Controller):
    path = "/projects"
    tags = ["projects"]

    @get(sync_to_thread=True)
    def index(self, box: Box, limit: Limit = 100, cursor: Cursor = None) -> Page[ProjectLine]:
        """Every project with its state, by name."""
        return page(projects.index(box), limit, cursor, lambda line: line.project.slug)

    @post(sync_to_thread=True)
    def create(self, box: Box, actor: Actor, data: JSONBody[NewProject]) -> Project:
        """A new project, with its production environment and its generated domain."""
        return projects.create(box, data, actor)

    @get("/{slug:str}", sync_to_thread=True)
    def show(self, box: Box, slug: FromPath[str]) -> Project:
        """One project."""
        return projects.show(box, slug)

    @patch("/{slug:str}", sync_to_thread=True)
    def change(self, box: Box, actor: Actor, slug: FromPath[str], data: JSONBody[ProjectPatch]) -> Project:
        """Change where its source comes from."""
        return projects.change(box, slug, data, actor)

    @delete("/{slug:str}", sync_to_thread=True)
    def remove(self, box: Box, actor: Actor, slug: FromPath[str]) -> None:
        """Remove the project and everything that runs for it."""
        projects.remove(box, slug, actor)

    @get("/{slug:str}/status", sync_to_thread=True)
    def status(self, box: Box, slug: FromPath[str]) -> ProjectStatus:
        """What is live, what runs, where it answers."""
        return projects.status(box, slug)

    @post("/{slug:str}/deploy-key", sync_to_thread=True)
    def deploy_key(self, box: Box, actor: Actor, slug: FromPath[str]) -> Project:
        """A new key for reading its git URL over ssh; the answer holds the public half."""
        return projects.generate_deploy_key(box, slug, actor)

    @post("/{slug:str}/resume", status_code=200, sync_to_thread=True)
    def resume(self, box: Box, actor: Actor, slug: FromPath[str]) -> Project:
        """Let automatic deploys go on after a rollback paused them."""
        return deployments.resume(box, slug, actor)
