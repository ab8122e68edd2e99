from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from app.adapters.git import Url, check_ref, parse_url
from app.adapters.git_url import is_commit
from app.errors import SourceRefused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://github.com/ada/site", Url(text="https://github.com/ada/site", transport="https", host="github.com")),
        (" https://h.test:8443/a.git\n", Url(text="https://h.test:8443/a.git", transport="https", host="h.test")),
        ("HTTPS://h.test/a", Url(text="https://h.test/a", transport="https", host="h.test")),
        ("https://[2001:db8::1]:444/a", Url(text="https://[2001:db8::1]:444/a", transport="https", host="[2001:db8::1]")),
        ("https://u:p%40ss@h.test/a", Url(text="https://h.test/a", transport="https", host="h.test", credential="u:p@ss")),
        ("https://token@h.test/a", Url(text="https://h.test/a", transport="https", host="h.test", credential="token:")),
        ("ssh://git@h.test:2222/a", Url(text="ssh://git@h.test:2222/a", transport="ssh", host="h.test")),
        ("ssh://h.test/~ada/a.git", Url(text="ssh://h.test/~ada/a.git", transport="ssh", host="h.test")),
        ("git@github.com:ada/site.git", Url(text="git@github.com:ada/site.git", transport="ssh", host="github.com")),
        ("git@[::1]:a", Url(text="git@[::1]:a", transport="ssh", host="[::1]")),
    ],
)
def test_taken(text: str, expected: Url) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--upload-pack=touch X",
        "-oProxyCommand=touch X",
        "ext::sh -c touch% X",
        "fd::7",
        "git://h.test/a",
        "http://h.test/a",
        "http://u:p@h.test/a",
        "ftp://h.test/a",
        "file:///etc",
        "file://other/etc",
        "file:etc",
        "/etc",
        "./site",
        "../site",
        "site",
        "https:///a",
        "https://h.test",
        "https://h.test/",
        "https://h.test/a?x=1",
        "https://h.test/a#x",
        "https://h.test/-a",
        "https://-h.test/a",
        "https://h.test:x/a",
        "https://h.test:99999/a",
        "https://h.test:/a",
        "https://h test/a",
        "https://h.test/a b",
        "https://h.test/a\\b",
        "https://h.test/a\r\nHost: x",
        "https://h.test/a\0",
        "https://h\u00e9.test/a",
        "ssh://-oProxyCommand=touch%20X/a",
        "ssh://git:pw@h.test/a",
        "ssh://-x@h.test/a",
        "-x@h.test:a",
        "git@-oProxyCommand:a",
        "git@h.test:-a",
        "git@h.test::a",
        "git@h.test:a b",
        "h.test:a",
        "ssh+git://h.test/a",
        "https://h.test/" + "a" * 3000,
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(SourceRefused):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("--upload-pack=touch X", "starts with a dash"),
        ("http://h.test/a", "use https://"),
        ("ext::sh -c x", "ext:: would run a helper program"),
        ("git://h.test/a", "git:// is not taken"),
        ("ssh://git:pw@h.test/a", "deploy key"),
    ],
)
def test_a_refusal_says_why(text: str, why: str) -> None:
    with pytest.raises(SourceRefused, match=why):
        parse_url(text)


def test_a_refusal_shows_no_credential() -> None:
    with pytest.raises(SourceRefused) as raised:
        parse_url("http://ada:hunter22@h.test/a")
    assert "hunter22" not in str(raised.value) + raised.value.hint
    assert "hunter22" not in repr(parse_url("https://ada:hunter22@h.test/a"))


def test_a_local_folder_needs_the_operators_word(tmp_path: Path) -> None:
    allowed, other = tmp_path / "allowed", tmp_path / "allowed-not"
    for folder in (allowed / "site", other):
        folder.mkdir(parents=True)
    (allowed / "out").symlink_to(other)
    local = (str(allowed),)
    inside = Url(text=str(allowed / "site"), transport="local")
    assert parse_url(str(allowed / "site"), local) == inside
    assert parse_url(f"file://{allowed}/site", local) == inside
    assert parse_url(str(allowed), local).text == str(allowed)
    for path in (other, allowed / "out", allowed / ".." / "allowed-not", "/etc"):
        with pytest.raises(SourceRefused) as raised:
            parse_url(str(path), local)
        for way in ("local_repositories", "HOMEPORT_LOCAL_REPOSITORIES", "--local-repository"):
            assert way in raised.value.hint
    with pytest.raises(SourceRefused):
        parse_url(str(allowed / "site"))


GOOD_REFS = ["main", "feature/a-b", "v1.0", "a@b", "ünïcode", "a" * 250, "x-", "refs/pull/1/head", "HEAD"]
BAD_REFS = [
    "-x",
    "--upload-pack=touch X",
    "",
    "a..b",
    "a b",
    "a~1",
    "a^",
    "a:b",
    "a?",
    "a*",
    "a[b",
    "a\\b",
    "a@{1}",
    "@",
    "/a",
    "a/",
    "a//b",
    ".a",
    "a/.b",
    "a.",
    "a.lock",
    "a.lock/b",
    "a\nb",
    "a\x7fb",
    "a\x1b]0;x\x07",
]


@pytest.mark.parametrize("ref", GOOD_REFS)
def test_references_that_are_taken(ref: str) -> None:
    assert check_ref(ref) == ref


@pytest.mark.parametrize("ref", [*BAD_REFS, "a" * 300, "\u202egnp"])
def test_references_that_are_refused(ref: str) -> None:
    with pytest.raises(SourceRefused) as raised:
        check_ref(ref)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("ref", [*GOOD_REFS, *BAD_REFS])
def test_git_agrees(ref: str) -> None:
    argv = ["git", "check-ref-format", f"refs/heads/{ref}"]
    git_takes_it = subprocess.run(argv, env={"PATH": os.environ["PATH"]}, check=False).returncode == 0
    ours_alone = ref in ("-x", "@")  # refs/heads/-x and refs/heads/@ are fine with git
    assert git_takes_it == (ref in GOOD_REFS or ours_alone)


def test_only_a_full_commit_is_one() -> None:
    assert is_commit("a" * 40)
    assert not is_commit("a" * 39)
    assert not is_commit("A" * 40)
    assert not is_commit("a" * 40 + "\n")
