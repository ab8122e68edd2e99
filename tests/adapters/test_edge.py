from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from app.adapters.edge import (
    EdgeSite,
    address_of,
    canonical,
    differences,
    generated_names,
    hash_of,
    render,
    tls_of,
    url_of,
)
from app.errors import BadInput
from app.model import Tls
from app.settings import Settings

settings = Settings(data="/d", http_port=9080, https_port=9443, public_address="203.0.113.7")


WHOLE = {
    "admin": {"listen": "unix//d/caddy.sock|0660", "config": {"persist": False}},
    "logging": {
        "logs": {
            "default": {
                "writer": {"output": "file", "filename": "/d/caddy/caddy.log", "roll_size_mb": 10, "roll_keep": 3},
                "encoder": {
                    "format": "filter",
                    "wrap": {"format": "json"},
                    "fields": {
                        "request>headers": {"filter": "delete"},
                        "request>uri": {"filter": "regexp", "regexp": "\\?.*", "value": "?"},
                    },
                },
                "level": "INFO",
                "exclude": ["admin.api"],
            }
        }
    },
    "storage": {"module": "file_system", "root": "/d/caddy/storage"},
    "apps": {
        "http": {
            "http_port": 9080,
            "https_port": 9443,
            "servers": {
                "edge": {
                    "listen": [":9080", ":9443"],
                    "protocols": ["h1", "h2"],
                    "automatic_https": {"disable_redirects": True},
                    "tls_connection_policies": [{}],
                    "read_header_timeout": "20s",
                    "max_header_bytes": 65536,
                }
            },
        },
        "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
        "tls": {
            "certificates": {"automate": ["shop.example.org", "blog.localhost", "shop.localhost"]},
            "automation": {
                "policies": [
                    {
                        "subjects": ["shop.example.org"],
                        "issuers": [
                            {
                                "module": "acme",
                                "challenges": {
                                    "http": {"alternate_port": 9080},
                                    "tls-alpn": {"alternate_port": 9443},
                                },
                            }
                        ],
                    },
                    {"subjects": ["blog.localhost", "shop.localhost"], "issuers": [{"module": "internal"}]},
                ]
            },
        },
    },
}


def server(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["apps"]["http"]["servers"]["edge"]
    return found


def mappings(config: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server(config)["routes"][0]["handle"][1]["mappings"]
    return found


def test_the_whole_configuration_but_its_routes() -> None:
    sites = [
        EdgeSite("env_2", (("shop.example.org", "acme"), ("shop.localhost", "internal"))),
        EdgeSite("env_1", (("blog.203-0-113-7.sslip.io", "off"), ("blog.localhost", "internal"))),
    ]
    config = render(settings, sites)
    routes, errors = server(config).pop("routes"), server(config).pop("errors")
    assert config == WHOLE
    assert [route.get("terminal", False) for route in routes] == [False, True, True, True, True, True, True, False]
    assert len(errors["routes"]) == 2


def test_hosts_are_one_map_sorted_by_name() -> None:
    sites = [EdgeSite("env_2", (("b.example.org", "acme"), ("a.localhost", "internal")))]
    assert mappings(render(settings, sites)) == [
        {"input": "a.localhost", "outputs": ["{file./d/routes/env_2/current/route}", "internal"]},
        {"input": "b.example.org", "outputs": ["{file./d/routes/env_2/current/route}", "acme"]},
    ]
    assert hash_of(render(settings, sites)) == hash_of(render(settings, [EdgeSite("env_2", sites[0].names[::-1])]))


def test_a_box_without_names_has_no_certificates() -> None:
    assert render(settings, [])["apps"]["tls"] == {}
    assert mappings(render(settings, [])) == []


def test_what_the_operator_says_about_acme() -> None:
    own = Settings(data="/d", acme_email="a@b.c", acme_ca="https://ca.test/dir", acme_ca_root="/ca.pem")
    config = render(own, [EdgeSite("env_1", (("x.example.org", "acme"),))])
    issuer = config["apps"]["tls"]["automation"]["policies"][0]["issuers"][0]
    assert issuer == {
        "module": "acme",
        "challenges": {"http": {"alternate_port": 80}, "tls-alpn": {"alternate_port": 443}},
        "email": "a@b.c",
        "ca": "https://ca.test/dir",
        "trusted_roots_pem_files": ["/ca.pem"],
    }


@pytest.mark.parametrize(
    ("bind", "listen", "own"),
    [
        ("", [":80", ":443"], "127.0.0.1"),
        ("0.0.0.0", ["0.0.0.0:80", "0.0.0.0:443"], "127.0.0.1"),
        ("10.0.0.1", ["10.0.0.1:80", "10.0.0.1:443"], "10.0.0.1"),
        ("::1", ["[::1]:80", "[::1]:443"], "::1"),
    ],
)
def test_where_it_listens_and_where_we_ask(bind: str, listen: list[str], own: str) -> None:
    bound = Settings(data="/d", bind=bind)
    assert server(render(bound, []))["listen"] == listen
    assert address_of(bound) == own


@pytest.mark.parametrize(
    "name",
    [
        "",
        "UP.example.org",
        "a b",
        "a\nb",
        "a}",
        "{file./etc/passwd}",
        "*.example.org",
        "a..b",
        "-a.b",
        "a" * 64 + ".b",
        "a/b",
        "a:80",
    ],
)
def test_what_is_no_host_name_never_reaches_caddy(name: str) -> None:
    with pytest.raises(BadInput, match="is no host name"):
        render(settings, [EdgeSite("env_1", ((name, "off"),))])


def test_one_name_one_environment() -> None:
    with pytest.raises(BadInput, match=r"a\.b is claimed twice"):
        render(settings, [EdgeSite("env_1", (("a.b", "off"),)), EdgeSite("env_2", (("a.b", "off"),))])


@pytest.mark.parametrize("data", ["/d/{env.HOME}", "/d/a*", "relative", "/d|0777", "/d/[x]", "/d\n"])
def test_a_data_folder_that_caddy_would_read_otherwise_is_refused(data: str) -> None:
    with pytest.raises(BadInput, match="needs an absolute path"):
        render(Settings(data=data), [])


def test_an_environment_id_is_no_path() -> None:
    with pytest.raises(BadInput, match="is no environment"):
        render(settings, [EdgeSite("../x", (("a.b", "off"),))])


def test_thousand_hosts_in_no_time() -> None:
    sites = [EdgeSite(f"env_{n}", ((f"p{n}.localhost", "internal"), (f"p{n}.example.org", "acme"))) for n in range(500)]
    best = min(_seconds(sites) for _ in range(5))
    assert best < 0.05
    assert len(server(render(settings, sites))["routes"]) == len(server(render(settings, []))["routes"])


def _seconds(sites: list[EdgeSite]) -> float:
    begin = time.perf_counter()
    render(settings, sites)
    return time.perf_counter() - begin


@pytest.mark.parametrize(
    ("name", "tls"),
    [
        ("blog.localhost", "internal"),
        ("nas.local", "internal"),
        ("x.internal", "internal"),
        ("box.lan", "internal"),
        ("box.home.arpa", "internal"),
        ("a.test", "internal"),
        ("a.example", "internal"),
        ("a.invalid", "internal"),
        ("myhost", "internal"),
        ("192.168.1.5", "internal"),
        ("2001:db8::1", "internal"),
        ("blog.203-0-113-7.sslip.io", "off"),
        ("blog.example.org", "acme"),
        ("notlocal.org", "acme"),
        ("xlocalhost.org", "acme"),
    ],
)
def test_tls_of(name: str, tls: Tls) -> None:
    assert tls_of(name, settings) == tls


def test_a_private_ca_issues_for_test_names() -> None:
    assert tls_of("a.test", Settings(data="/d", acme_ca="https://localhost:14000/dir")) == "acme"


def test_generated_names() -> None:
    assert generated_names("blog", settings) == ("blog.localhost", "blog.203-0-113-7.sslip.io")
    based = Settings(data="/d", base_domain="apps.example.org", public_address="203.0.113.7")
    assert generated_names("blog", based) == ("blog.localhost", "blog.apps.example.org", "blog.203-0-113-7.sslip.io")


@pytest.mark.parametrize(
    ("address", "found"), [("8.8.4.4", ("b.localhost", "b.8-8-4-4.sslip.io")), ("10.1.2.3", ("b.localhost",))]
)
def test_a_public_address_is_found_on_the_interfaces(
    monkeypatch: pytest.MonkeyPatch, address: str, found: tuple[str, ...]
) -> None:
    import socket

    import psutil

    entries = [
        SimpleNamespace(family=family, address=text) for family, text in ((socket.AF_INET6, "fe80::1"), (socket.AF_INET, address))
    ]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": entries})
    assert generated_names("b", Settings(data="/d")) == found


@pytest.mark.parametrize(
    ("tls", "http", "https", "url"),
    [
        ("acme", 80, 443, "https://a.b"),
        ("acme", 80, 8443, "https://a.b:8443"),
        ("internal", 80, 443, "http://a.b"),
        ("internal", 8080, 443, "http://a.b:8080"),
        ("off", 80, 443, "http://a.b"),
    ],
)
def test_url_of(tls: Tls, http: int, https: int, url: str) -> None:
    assert url_of("a.b", tls, Settings(data="/d", http_port=http, https_port=https)) == url


def test_hash_of_is_of_the_value_and_not_of_its_spelling() -> None:
    assert canonical({"b": [1], "a": "é"}) == b'{"a":"\\u00e9","b":[1]}'
    assert hash_of({"b": [1], "a": 2}) == hash_of(json.loads('{"a": 2, "b": [1]}'))
    assert hash_of({"a": 1}) != hash_of({"a": 2})


def test_differences_in_words() -> None:
    ours = {"a": {"b": [1, 2], "c": 1}, "d": 1}
    assert differences(ours, ours) == []
    assert differences(ours, {"a": {"b": [1, 3], "x": 1}, "d": 1}) == ["a.b[1] was changed", "a.c was removed", "a.x was added"]
    assert differences(ours, {"a": {"b": [1], "c": 1}, "d": 1}) == ["a.b was changed"]
    assert differences(ours, None) == ["the whole configuration was changed"]
