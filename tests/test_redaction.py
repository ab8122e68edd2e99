"""Secrets do not reach a log, in whatever coat they come."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from app.redaction import MASK, forms_of, redactor

SECRET = "p@ss/wörd+1=!(x) 'q'"


def test_the_exact_value_goes_and_the_rest_stays() -> None:
    redact = redactor(["canary-one", "canary-two"])
    assert redact("a canary-one b canary-two c canary-one") == f"a {MASK} b {MASK} c {MASK}"
    assert redact("canary-three") == "canary-three"


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", "user:"])
@pytest.mark.parametrize("after", ["", "z", "zz", "zzz", "\n"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("secret", ["canary", "canary1", "canary12", "??>>~~!!ÿÿ"])
def test_base64_at_any_place_of_a_longer_text(before: str, after: str, encode: object, secret: str) -> None:
    assert callable(encode)
    text = encode(f"{before}{secret}{after}".encode()).decode()
    found = redactor([secret])(text)
    assert MASK in found
    left = found.replace(MASK, "")
    assert len(left) <= len(text) - 6, "at most the groups that it shares with its neighbours are left"


@pytest.mark.parametrize(
    "coat",
    [
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        quote(SECRET, safe="!'()*~"),
        json.dumps({"k": 'say "' + SECRET + '"'}, ensure_ascii=False),
    ],
    ids=["hex", "HEX", "url", "url with slashes", "form", "encodeURIComponent", "json"],
)
def test_other_coats(coat: str) -> None:
    redacted = redactor([SECRET])(f"before {coat} after")
    assert MASK in redacted
    assert coat not in redacted
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")


def test_a_value_with_quotes_is_found_in_json() -> None:
    secret = 'quo"ted\\value'
    assert redactor([secret])(json.dumps([secret])) == f'["{MASK}"]'


def test_each_line_of_a_key_is_one_secret() -> None:
    key = "-----BEGIN KEY-----\nQUJDREVGR0g1\r\n  aWprbG1ub3A2  \nshort\n-----END KEY-----\n"
    redact = redactor([key])
    assert redact("read QUJDREVGR0g1 from it") == f"read {MASK} from it"
    assert redact("aWprbG1ub3A2") == MASK
    assert redact("a short one") == "a short one"
    assert MASK in redact(base64.b64encode(key.encode()).decode())


def test_short_values_would_take_words_out_and_stay() -> None:
    assert redactor(["on", "8080", "", "  ", "12345"])("on 8080 12345") == "on 8080 12345"
    assert redactor(["123456"])("123456") == MASK


def test_the_longer_of_two_that_overlap_goes_whole() -> None:
    assert redactor(["secret", "secret-and-more"])("secret-and-more secret") == f"{MASK} {MASK}"


def test_signs_of_a_pattern_are_no_pattern() -> None:
    redact = redactor(["a.*b+c?[d]"])
    assert redact("a.*b+c?[d]") == MASK
    assert redact("axxbbc[d]") == "axxbbc[d]"


def test_no_secret_changes_nothing() -> None:
    assert redactor([])("as it is") == "as it is"


def test_no_form_is_short_enough_to_meet_by_chance() -> None:
    for secret in ("canary", SECRET, "x" * 6):
        assert min(map(len, forms_of(secret))) >= 6
