from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.adapters.edge import hash_of
from app.adapters.edge_routes import static_route
from app.model import StaticSite
from tests.edge import Edge, write_site

pytestmark = pytest.mark.e2e

FILES = {
    "index.html": "home",
    "about.html": "about",
    "docs/index.html": "docs",
    "docs/page.html": "page",
    "404.html": "own page",
    "assets/app-BX3f9_a1.js": "hashed",
    "assets/plain.js": "plain",
    "empty/keep.txt": "kept",
    "100%.html": "percent",
    "a b.html": "space",
    "ü.html": "umlaut",
    "[x].html": "bracket",
    "{env.HOME}.html": "brace",
    ".well-known/security.txt": "contact",
}
HOST = "s.localhost"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]], caddy_binary: str) -> Iterator[Edge]:
    edge = Edge(tmp_path_factory.mktemp("edge"), free_ports(2), caddy_binary)
    edge.start(HOST)
    yield edge
    edge.close()


@pytest.fixture
def site(edge: Edge, tmp_path: Path) -> Path:
    return write_site(edge.settings.root / "sites" / tmp_path.name, FILES)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, "home"),
        ("/?q=1", 200, "home"),
        ("/index.html", 200, "home"),
        ("/about", 200, "about"),
        ("/about.html", 200, "about"),
        ("/docs/", 200, "docs"),
        ("/docs/page", 200, "page"),
        ("/100%25", 200, "percent"),
        ("/a%20b", 200, "space"),
        ("/%C3%BC", 200, "umlaut"),
        ("/%5Bx%5D", 200, "bracket"),
        ("/%7Benv.HOME%7D", 200, "brace"),
        ("/.well-known/security.txt", 200, "contact"),
        ("/nope", 404, "own page"),
        ("/nope/", 404, "own page"),
        ("/empty/", 404, "own page"),
        ("/assets", 404, "own page"),
        ("/*.html", 404, "own page"),
        ("/assets/gone-BX3f9_a1.js", 404, "own page"),
    ],
)
def test_what_is_served(edge: Edge, site: Path, path: str, status: int, body: str) -> None:
    edge.turn("env_s", static_route(str(site), StaticSite()))
    reply = edge.get(HOST, path)
    assert (reply.status, reply.body) == (status, body)
    assert "last-modified" not in reply.fields
    assert reply.fields["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/../../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/docs/../../secret",
        "/..%5csecret",
        "//secret",
        "/.%00./secret",
    ],
)
def test_nothing_outside_the_site_is_served(edge: Edge, site: Path, path: str) -> None:
    (site.parent / "secret").write_text("SECRET")
    (site.parent.parent / "secret").write_text("SECRET")
    edge.turn("env_s", static_route(str(site), StaticSite()))
    reply = edge.get(HOST, path)
    assert reply.status in (400, 404)
    assert "SECRET" not in reply.body


def test_folders_get_their_slash(edge: Edge, site: Path) -> None:
    edge.turn("env_s", static_route(str(site), StaticSite()))
    reply = edge.get(HOST, "/docs")
    assert (reply.status, reply.fields["location"]) == (308, "/docs/")


def test_a_file_wins_over_the_folder_of_its_name(edge: Edge, site: Path) -> None:
    write_site(site, {"docs.html": "the file"})
    edge.turn("env_s", static_route(str(site), StaticSite()))
    assert edge.get(HOST, "/docs").body == "the file"
    assert edge.get(HOST, "/docs/").body == "docs"


def test_without_clean_urls(edge: Edge, site: Path) -> None:
    edge.turn("env_s", static_route(str(site), StaticSite(clean_urls=False)))
    assert edge.get(HOST, "/about").status == 404
    assert edge.get(HOST, "/about.html").body == "about"


def test_an_spa_answers_pages_and_not_assets_with_its_index(edge: Edge, site: Path) -> None:
    edge.turn("env_s", static_route(str(site), StaticSite(spa=True)))
    for path in ("/users/7", "/users/7/", "/v1.2"):
        reply = edge.get(HOST, path)
        assert (reply.status, reply.body, reply.fields["cache-control"]) == (200, "home", "no-cache")
    assert edge.get(HOST, "/about").body == "about"
    missing = edge.get(HOST, "/assets/old-AAAAAAAA.js")
    assert (missing.status, missing.body) == (404, "own page")


def test_a_site_without_a_page_for_unknown_paths(edge: Edge, site: Path) -> None:
    for not_found in ("", "gone.html"):
        edge.turn("env_s", static_route(str(site), StaticSite(not_found=not_found)))
        reply = edge.get(HOST, "/nope")
        assert (reply.status, reply.body, reply.fields["content-type"]) == (
            404,
            "There is no such page.\n",
            "text/plain; charset=utf-8",
        )


def test_a_site_without_an_index(edge: Edge, tmp_path: Path) -> None:
    site = write_site(edge.settings.root / "sites" / tmp_path.name, {"404.html": "own page"})
    for spa in (False, True):
        edge.turn("env_s", static_route(str(site), StaticSite(spa=spa)))
        assert edge.get(HOST, "/").body == "own page"


def test_hashed_assets_are_kept_for_ever(edge: Edge, site: Path) -> None:
    edge.turn("env_s", static_route(str(site), StaticSite()))
    assert edge.get(HOST, "/assets/app-BX3f9_a1.js").fields["cache-control"] == "public, max-age=31536000, immutable"
    assert edge.get(HOST, "/assets/plain.js").fields["cache-control"] == "no-cache"


def test_the_404_page_comes_whole_whatever_is_asked(edge: Edge, site: Path) -> None:
    edge.turn("env_s", static_route(str(site), StaticSite()))
    tag = edge.get(HOST, "/nope").fields["etag"]
    for fields in ({"If_None_Match": tag}, {"Range": "bytes=0-1"}):
        reply = edge.get(HOST, "/nope", **fields)
        assert (reply.status, reply.body) == (404, "own page")


def test_only_get_and_head(edge: Edge, site: Path) -> None:
    edge.turn("env_s", static_route(str(site), StaticSite()))
    head = edge.get(HOST, "/", "HEAD")
    assert (head.status, head.body, head.fields["content-length"]) == (200, "", "4")
    refused = edge.get(HOST, "/", "POST")
    assert (refused.status, refused.body) == (405, "405 Method Not Allowed\n")


def test_a_switch_of_content_with_equal_sizes_is_never_a_stale_304(edge: Edge, tmp_path: Path) -> None:
    """Modification times are hashes of the content, so the ETag is too; dates are neither said nor believed."""
    folder = edge.settings.root / "sites" / tmp_path.name
    one = write_site(folder / "1", {"index.html": "one!"}, mtime=1_111_111_111)
    two = write_site(folder / "2", {"index.html": "two!"}, mtime=999_999_999)
    edge.turn("env_s", static_route(str(one), StaticSite()))
    before = hash_of(edge.config)
    first = edge.get(HOST)
    tag = first.fields["etag"]
    assert edge.get(HOST, If_None_Match=tag).status == 304
    edge.turn("env_s", static_route(str(two), StaticSite()))
    for fields in (
        {"If_None_Match": tag},
        {"If_Modified_Since": "Sun, 22 Nov 2026 00:00:00 GMT"},
        {"If_Unmodified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"},
    ):
        reply = edge.get(HOST, **fields)
        assert (reply.status, reply.body) == (200, "two!")
        assert reply.fields["etag"] != tag
    assert edge.caddy.config_hash() == before


def test_precompressed_files(edge: Edge, site: Path) -> None:
    text = "home " * 500
    write_site(site, {"index.html": text})
    (site / "index.html.gz").write_bytes(gzip.compress(text.encode()))
    os.utime(site / "index.html.gz", (1_234_567_890, 1_234_567_890))
    edge.turn("env_s", static_route(str(site), StaticSite()))
    plain, packed = edge.get(HOST), edge.get(HOST, Accept_Encoding="gzip")
    assert plain.body == text
    assert (packed.fields["content-encoding"], packed.fields["vary"]) == ("gzip", "Accept-Encoding")
    assert packed.fields["content-length"] == str((site / "index.html.gz").stat().st_size)
    assert packed.fields["etag"] != plain.fields["etag"]
