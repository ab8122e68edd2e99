from __future__ import annotations

import re

import pytest

from app.adapters.edge_routes import UPSTREAMS, docker_route, error_routes, kind_of, routes, static_route
from app.errors import BadInput
from app.model import StaticSite


@pytest.mark.parametrize("replicas", [1, 2, 3, 5, 12])
def test_a_docker_route_fills_every_slot_in_turn(replicas: int) -> None:
    addresses = [f"10.0.0.{n}:8080" for n in range(replicas)]
    kind, *slots = docker_route(addresses).split("\t")
    assert kind == "docker"
    assert slots == [addresses[n % replicas] for n in range(UPSTREAMS)]


def test_more_replicas_than_slots() -> None:
    assert docker_route([f"h{n}:1" for n in range(20)]).split("\t")[1:] == [f"h{n}:1" for n in range(UPSTREAMS)]


def test_no_web_replica_is_idle() -> None:
    assert docker_route([]) == "idle"


@pytest.mark.parametrize(
    ("site", "route"),
    [
        (StaticSite(), "static\t/s/1\t.html\t\t/404.html"),
        (StaticSite(spa=True, clean_urls=False, not_found=""), "static\t/s/1\t\t/index.html\t"),
        (StaticSite(not_found="/errors/404.html"), "static\t/s/1\t.html\t\t/errors/404.html"),
    ],
)
def test_static_route(site: StaticSite, route: str) -> None:
    assert static_route("/s/1", site) == route


@pytest.mark.parametrize(
    ("folder", "page"), [("relative", "x"), ("", "x"), ("/a\tb", "x"), ("/a\nb", "x"), ("/a", "4\t4"), ("/a", "a\nb")]
)
def test_a_route_is_one_line_of_fields(folder: str, page: str) -> None:
    with pytest.raises(BadInput, match="cannot be served"):
        static_route(folder, StaticSite(not_found=page))


def test_kind_of() -> None:
    assert [kind_of(route) for route in ("docker\ta:1", "static\t/s", "stopped", "idle", "")] == [
        "docker",
        "static",
        "stopped",
        "idle",
        "",
    ]


def test_a_route_file_is_read_back_as_it_was_written() -> None:
    _, hosts, keep, kinds, slots = routes({}, 443)[0]["handle"]
    assert hosts["source"] == "{http.request.host}"
    assert hosts["defaults"] == ["unknown", ""]
    assert keep == {"handler": "vars", "hp_route": "{hp.route}"}
    static = re.compile(kinds["mappings"][1]["input_regexp"])
    assert static.fullmatch(static_route("/s/1", StaticSite(spa=True))).groups() == ("/s/1", ".html", "/index.html", "/404.html")  # type: ignore[union-attr]
    docker = re.compile(slots["mappings"][0]["input_regexp"])
    now, then = docker_route(["new:1"]), docker_route(["old:1"])
    assert set(docker.search(f"{now}\n{then}").groups()) == {"new:1"}  # type: ignore[union-attr]
    assert set(docker.search(f"static\t/s\t\t\t\n{then}").groups()) == {"old:1"}  # type: ignore[union-attr]


def test_the_proxy() -> None:
    docker = routes({}, 443)[2]
    assert docker["match"] == [{"vars": {"{hp.kind}": ["docker"]}}]
    encode, proxy = docker["handle"]
    assert encode["prefer"] == ["zstd", "gzip"]
    assert not any("event-stream" in kind or kind == "text/*" for kind in encode["match"]["headers"]["Content-Type"])
    assert proxy == {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{{hp.up{n}}}"} for n in range(12)],
        "load_balancing": {"selection_policy": {"policy": "random"}, "try_duration": "5s", "try_interval": "100ms"},
        "transport": {
            "protocol": "http",
            "dial_timeout": "2s",
            "compression": False,
            "keep_alive": {"idle_timeout": "1s"},
        },
        "headers": {"request": {"set": {"X-Real-Ip": ["{http.request.remote.host}"]}}},
        "stream_close_delay": "1h",
    }


@pytest.mark.parametrize(
    ("port", "location"),
    [
        (443, "https://{http.request.host}{http.request.uri}"),
        (9443, "https://{http.request.host}:9443{http.request.uri}"),
    ],
)
def test_public_names_go_to_https(port: int, location: str) -> None:
    assert routes({}, port)[1] == {
        "match": [{"protocol": "http", "vars": {"{hp.tls}": ["acme"]}}],
        "handle": [{"handler": "static_response", "status_code": 308, "headers": {"Location": [location]}}],
        "terminal": True,
    }


def test_pages_are_plain_and_not_kept() -> None:
    stopped, idle, empty, unknown = (route["handle"][0] for route in routes({}, 443)[4:])
    assert stopped == {
        "handler": "static_response",
        "status_code": 503,
        "headers": {
            "Content-Type": ["text/plain; charset=utf-8"],
            "Cache-Control": ["no-store"],
            "Retry-After": ["120"],
        },
        "body": "This application is stopped.\n",
    }
    assert [page["status_code"] for page in (idle, empty, unknown)] == [503, 503, 404]
    assert [page["handle"][0]["status_code"] for page in error_routes()] == ["{http.error.status_code}"] * 2


@pytest.mark.parametrize(
    ("path", "hashed"),
    [
        ("/assets/index-BX3f9_a1.js", True),
        ("/assets/deep/font.0123abcd.woff2", True),
        ("/_next/static/chunks/main-0a1b2c3d4e5f.js", True),
        ("/assets/logo.png", False),
        ("/assets/app-short.js", False),
        ("/app-BX3f9_a1.js", False),
        ("/assets/index-BX3f9_a1.html", False),
    ],
)
def test_which_files_are_kept_for_ever(path: str, hashed: bool) -> None:
    serve = routes({}, 443)[3]["handle"][0]["routes"][1]["handle"][0]
    pattern = serve["routes"][1]["match"][0]["path_regexp"]["pattern"]
    assert bool(re.search(pattern, path)) == hashed
