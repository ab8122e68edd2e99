"""Host names: one spelling of each, and nothing else."""

from __future__ import annotations

import pytest

from app.domains import normal
from app.errors import BadInput


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("www.example.com", "www.example.com"),
        ("  WWW.Example.COM. ", "www.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("a。b.example", "a.b.example"),
        ("web.localhost", "web.localhost"),
        ("a-b.1c.example", "a-b.1c.example"),
        (f"{'a' * 63}.example", f"{'a' * 63}.example"),
    ],
)
def test_one_spelling(given: str, expected: str) -> None:
    assert normal(given) == expected
    assert normal(normal(given)) == expected


@pytest.mark.parametrize(
    "given",
    [
        "",
        ".",
        " ",
        "localhost",
        "https://example.com",
        "example.com/path",
        "example.com:443",
        "ada@example.com",
        "*.example.com",
        "-a.example.com",
        "a-.example.com",
        "a..example.com",
        ".example.com",
        "a_b.example.com",
        "exa mple.com",
        "exa\tmple.com",
        "example.com\nevil.com",
        "example.com\r\nHost: x",
        'a".example.com',
        "{file./etc/passwd}.example.com",
        "a／b.example.com",
        f"{'a' * 64}.example",
        ".".join(["abcdefgh"] * 30),
        "a\0.example.com",
        "\u202ea.example.com",
    ],
)
def test_no_host_name(given: str) -> None:
    with pytest.raises(BadInput, match="is no host name") as raised:
        normal(given)
    assert raised.value.hint
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", ["https://example.com", "example.com:443", "example.com/a", "ada@example.com", "*.example.com"])
def test_more_than_a_name_is_told_to_be_one(given: str) -> None:
    with pytest.raises(BadInput) as raised:
        normal(given)
    assert raised.value.hint.startswith("Give the bare name")
