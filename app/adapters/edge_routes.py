"""What the edge does with one request, as Caddy's JSON, and the text of the route files that decide it.

A route file is one line of fields with tabs between: `docker` and UPSTREAMS addresses; `static`, the folder, the suffix of
clean URLs, the fallback page and the page for unknown paths; `idle` (it runs, and has no web process); or `stopped`. One file
is one read: no request sees half a switch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from app.errors import BadInput
from app.model import StaticSite, Tls

FILE = "route"
"""Name of the file in a route's folder."""
UPSTREAMS = 12
"""Slots of a docker route. 1, 2, 3, 4, 6 and 12 replicas get equal shares; more than 12 cannot be reached."""

IDLE = "idle"
STOPPED = "stopped"
UNKNOWN_PAGE = "No application answers to this name on this server."
_UNKNOWN = "unknown"
_ASSETS = "js|mjs|css|map|json|wasm|woff2?|ttf|otf|eot|png|jpe?g|gif|svg|webp|avif|ico|mp3|mp4|webm"
_HASHED = rf"^/(?:assets|_next/static)/(?:.*/)?[^/]*[.-][A-Za-z0-9_-]{{8,}}\.(?:{_ASSETS})$"
_COMPRESSIBLE = (
    "text/html*", "text/css*", "text/plain*", "text/javascript*", "text/csv*", "text/xml*", "text/markdown*",
    "application/json*", "application/javascript*", "application/xml*", "application/xhtml+xml*",
    "application/ld+json*", "application/problem+json*", "application/rss+xml*", "application/atom+xml*",
    "application/manifest+json*", "application/wasm*", "image/svg+xml*",
)  # fmt: skip
"""Not text/event-stream: a compressor would hold events back."""
_FORGED = (
    "X-Forwarded-*", "Forwarded", "X-Real-Ip", "Remote-User", "X-Remote-User", "X-Original-Url", "X-Rewrite-Url",
    "Proxy", "*_*",
)  # fmt: skip
"""Request headers that only a proxy may set. Those with `_`: many servers read X_Forwarded_For as X-Forwarded-For."""

Json = dict[str, Any]


def docker_route(addresses: Sequence[str]) -> str:
    """The route to these replicas (`host:port`)."""
    if not addresses:
        return IDLE
    return "\t".join(("docker", *islice(cycle(addresses[:UPSTREAMS]), UPSTREAMS)))


def static_route(folder: str, site: StaticSite) -> str:
    """The route to the files of `folder` (absolute)."""
    if not folder.startswith("/") or any(ord(character) < 32 for character in folder + site.not_found):
        raise BadInput(f"{folder!r} cannot be served")
    clean = ".html" if site.clean_urls else ""
    fallback = "/index.html" if site.spa else ""
    not_found = f"/{site.not_found.lstrip('/')}" if site.not_found else ""
    return "\t".join(("static", folder, clean, fallback, not_found))


def kind_of(route: str) -> str:
    """`docker`, `static`, `idle` or `stopped`."""
    return route.partition("\t")[0]


def routes(hosts: Mapping[str, tuple[str, Tls]], https_port: int) -> list[Json]:
    """The routes of the server, as many for one host as for 1000: `hosts` maps a name to its route file and its TLS."""
    honest = _headers({"request": {"delete": list(_FORGED)}, "response": {"delete": ["Server"]}})
    plain = {"protocol": "http", "vars": {"{hp.tls}": ["acme"]}}
    return [
        {"handle": [honest, *_maps(hosts)]},
        {"match": [plain], "handle": [_to_https(https_port)], "terminal": True},
        _when("docker", [_encode(), _proxy()]),
        _when("static", [{"handler": "subroute", "routes": _static()}]),
        _when(STOPPED, [_page(503, "This application is stopped.", {"Retry-After": ["120"]})]),
        _when(IDLE, [_page(503, "This application has no web process that runs.", {"Retry-After": ["120"]})]),
        _when("empty", [_page(503, "Nothing is deployed here yet.", {"Retry-After": ["5"]})]),
        {"handle": [_page(404, UNKNOWN_PAGE)]},
    ]


def error_routes() -> list[Json]:
    """What is said when a handler gives up."""
    code = "{http.error.status_code}"
    away = _page(code, "The application does not answer. `homeport status` and `homeport logs` say why.")
    return [
        {
            "match": [{"vars": {"{http.error.status_code}": ["502", "503", "504"]}}],
            "handle": [away],
            "terminal": True,
        },
        {"handle": [_page(code, "{http.error.status_code} {http.error.status_text}")]},
    ]


def _maps(hosts: Mapping[str, tuple[str, Tls]]) -> list[Json]:
    """Host to route, the route when the request came to what it means, and the addresses, read anew at every try."""
    slots = [f"{{hp.up{index}}}" for index in range(UPSTREAMS)]
    groups = [f"${{{index + 1}}}" for index in range(UPSTREAMS)]
    addresses = r"\t".join([r"([^\t\n]+)"] * UPSTREAMS)
    return [
        _map(
            "{http.request.host}",
            ["{hp.route}", "{hp.tls}"],
            [{"input": host, "outputs": [f"{{file.{path}}}", tls]} for host, (path, tls) in hosts.items()],
            [_UNKNOWN, ""],
        ),
        {"handler": "vars", "hp_route": "{hp.route}"},
        _map(
            "{http.vars.hp_route}",
            ["{hp.kind}", "{hp.root}", "{hp.clean}", "{hp.fallback}", "{hp.notfound}"],
            [
                {"input_regexp": r"^docker\t", "outputs": ["docker", "", "", "", ""]},
                {
                    "input_regexp": r"^static\t([^\t]+)\t([^\t]*)\t([^\t]*)\t([^\t]*)$",
                    "outputs": ["static", "${1}", "${2}", "${3}", "${4}"],
                },
                *({"input": word, "outputs": [word, "", "", "", ""]} for word in (IDLE, STOPPED, _UNKNOWN)),
            ],
            ["empty", "", "", "", ""],
        ),
        _map(
            # What the route says now, then what it said when the request came, should it be no docker route any more.
            "{hp.route}\n{http.vars.hp_route}",
            slots,
            [{"input_regexp": rf"(?m)^docker\t{addresses}$", "outputs": groups}],
            [""] * UPSTREAMS,
        ),
    ]


def _static() -> list[Json]:
    path, clean = "{http.request.uri.path}", "{hp.clean}"
    found = [_serve()]
    a_file = {"not": [{"path": ["*/"]}]}
    rewritten = [{"handler": "rewrite", "uri": "{http.matchers.file.relative}"}, *found]
    return [
        {"handle": [_headers({"request": {"delete": ["If-Modified-Since", "If-Unmodified-Since"]}}), _no_dates()]},
        _files([path], found, a_file),
        _files([f"{path}{clean}"], rewritten, a_file),
        _files([f"{path}/index.html"], found),
        _files(["{hp.fallback}"], rewritten, {"not": [{"path_regexp": {"pattern": rf"(?i)\.(?:{_ASSETS})$"}}]}),
        _files(["{hp.notfound}"], _missing()),
        {"handle": [_page(404, "There is no such page.")]},
    ]


def _files(candidates: list[str], handle: list[Json], also: Json | None = None) -> Json:
    match = {"file": {"root": "{hp.root}", "try_files": candidates}, **(also or {})}
    return {"match": [match], "handle": handle, "terminal": True}


def _serve() -> Json:
    """The file at the request's path: kept for ever when its name carries a hash of its content, else asked for again."""
    forever = {"Cache-Control": ["public, max-age=31536000, immutable"]}
    return {
        "handler": "subroute",
        "routes": [
            {"handle": [_headers({"response": {"set": {"Cache-Control": ["no-cache"]}}})]},
            {
                "match": [{"path_regexp": {"pattern": _HASHED}}],
                "handle": [_headers({"response": {"set": forever}})],
            },
            {"handle": [_file_server()]},
        ],
    }


def _missing() -> list[Json]:
    """The site's own page for unknown paths, whole and with the status 404, whatever the request asks for."""
    conditional = ["If-None-Match", "If-Match", "If-Range", "Range"]
    return [
        _headers({"request": {"delete": conditional}, "response": {"set": {"Cache-Control": ["no-cache"]}}}),
        {"handler": "rewrite", "uri": "{http.matchers.file.relative}"},
        {**_file_server(), "status_code": "404"},
    ]


def _file_server() -> Json:
    return {
        "handler": "file_server",
        "root": "{hp.root}",
        "index_names": ["index.html"],
        "precompressed": {"gzip": {}},
        "precompressed_order": ["gzip"],
    }


def _no_dates() -> Json:
    """The modification times of sites are hashes of content: good in an ETag, no dates."""
    return _headers({"response": {"delete": ["Last-Modified"], "deferred": True}})


def _proxy() -> Json:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{{hp.up{index}}}"} for index in range(UPSTREAMS)],
        "load_balancing": {"selection_policy": {"policy": "random"}, "try_duration": "5s", "try_interval": "100ms"},
        "transport": {
            "protocol": "http",
            "dial_timeout": "2s",
            "compression": False,
            # An idle connection to a replica that is to go would hold its end up.
            "keep_alive": {"idle_timeout": "1s"},
        },
        "headers": {"request": {"set": {"X-Real-Ip": ["{http.request.remote.host}"]}}},
        "stream_close_delay": "1h",
    }


def _encode() -> Json:
    return {
        "handler": "encode",
        "encodings": {"gzip": {}, "zstd": {}},
        "prefer": ["zstd", "gzip"],
        "minimum_length": 1024,
        "match": {"headers": {"Content-Type": list(_COMPRESSIBLE)}},
    }


def _to_https(port: int) -> Json:
    suffix = "" if port == 443 else f":{port}"
    location = f"https://{{http.request.host}}{suffix}{{http.request.uri}}"
    return {"handler": "static_response", "status_code": 308, "headers": {"Location": [location]}}


def _page(status: int | str, text: str, headers: Json | None = None) -> Json:
    plain = {"Content-Type": ["text/plain; charset=utf-8"], "Cache-Control": ["no-store"]}
    both = {**plain, **(headers or {})}
    return {"handler": "static_response", "status_code": status, "headers": both, "body": f"{text}\n"}


def _when(kind: str, handle: list[Json]) -> Json:
    return {"match": [{"vars": {"{hp.kind}": [kind]}}], "handle": handle, "terminal": True}


def _map(source: str, destinations: list[str], mappings: list[Json], defaults: list[str]) -> Json:
    return {
        "handler": "map",
        "source": source,
        "destinations": destinations,
        "mappings": mappings,
        "defaults": defaults,
    }


def _headers(operations: Json) -> Json:
    return {"handler": "headers", **operations}
