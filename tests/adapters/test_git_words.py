from __future__ import annotations

import pytest

from app.adapters.git_url import parse_url
from app.adapters.git_words import Source, basic, explain, not_given_by_id, redacted, unknown_ref
from app.errors import BadInput, HomeportError, NotFound, OutOfSpace, SourceRefused, TimedOut, Unavailable

HTTPS = Source(url=parse_url("https://h.test/ada/site"))
SSH = Source(url=parse_url("git@h.test:ada/site"))


@pytest.mark.parametrize(
    ("source", "said", "kind", "cause"),
    [
        (HTTPS, "fatal: unable to access 'https://h.test/': Could not resolve host: h.test", Unavailable, "h.test is not known"),
        (SSH, "ssh: Could not resolve hostname h.test: Name or service not known", Unavailable, "h.test is not known"),
        (
            HTTPS,
            "fatal: unable to access: Failed to connect to h.test port 443: Connection refused",
            Unavailable,
            "does not answer",
        ),
        (SSH, "ssh: connect to host h.test port 22: Connection timed out", Unavailable, "does not answer"),
        (HTTPS, "fatal: could not read Username for 'https://h.test': terminal prompts disabled", BadInput, "does not let us"),
        (HTTPS, "remote: Invalid username or password.\nfatal: Authentication failed for 'x'", BadInput, "does not let us"),
        (HTTPS, "fatal: unable to access: The requested URL returned error: 403", BadInput, "does not let us"),
        (SSH, "git@h.test: Permission denied (publickey).\nfatal: Could not read from remote", BadInput, "does not let us"),
        (SSH, "ERROR: Repository not found.\nfatal: Could not read from remote repository.", NotFound, "There is no repository"),
        (HTTPS, "remote: Not Found\nfatal: repository 'https://h.test/' not found", NotFound, "There is no repository"),
        (SSH, "fatal: '/x' does not appear to be a git repository", NotFound, "There is no repository"),
        (SSH, "@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@", SourceRefused, "another host key"),
        (HTTPS, "server certificate verification failed. CAfile: none", Unavailable, "certificate of h.test"),
        (HTTPS, "GnuTLS recv error (-110): The TLS connection was non-properly terminated.", Unavailable, "does not answer"),
        (HTTPS, "error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec", TimedOut, "too slowly"),
        (HTTPS, "fetch-pack: unexpected disconnect while reading sideband packet\nfatal: early EOF", TimedOut, "too slowly"),
        (HTTPS, "fatal: write error: No space left on device", OutOfSpace, "disk is full"),
        (HTTPS, f"error: object {'a' * 40}: hasDotgit: contains '.git'", SourceRefused, "hasDotgit"),
        (HTTPS, f"fatal: remote error: upload-pack: not our ref {'a' * 40}", NotFound, f"no commit {'a' * 40}"),
        (HTTPS, "fatal: transport 'http' not allowed", SourceRefused, "leads on to http"),
        (HTTPS, "hint: x\nfatal: something new\nmore", Unavailable, "something new"),
        (HTTPS, "", Unavailable, "it said nothing"),
    ],
)
def test_what_git_means(source: Source, said: str, kind: type[HomeportError], cause: str) -> None:
    error = explain(source, said)
    assert type(error) is kind
    assert cause in str(error)
    assert error.hint


def test_foreign_words_are_cleaned() -> None:
    error = explain(HTTPS, "fatal: \x1b]52;c;AAAA\x07bad\rthing\u202e")
    assert str(error).isprintable()


@pytest.mark.parametrize("source", [HTTPS, SSH])
def test_who_is_refused_learns_of_deploy_keys(source: Source) -> None:
    hint = explain(source, "Permission denied").hint
    assert "deploy keys (read only)" in hint
    assert "homeport projects show" in hint


def test_credentials_are_taken_out() -> None:
    credential = "ada:hunter22"
    text = f"a {credential} b hunter22 c {basic(credential)} d"
    assert redacted(text, credential) == "a [redacted] b [redacted] c [redacted] d"
    assert redacted("token123 x", "token123:") == "[redacted] x"
    assert redacted("as it is", None) == "as it is"
    source = Source(url=HTTPS.url, credential=credential, key=b"private")
    assert "hunter22" not in repr(source)
    assert "private" not in repr(source)
    assert "hunter22" not in str(explain(source, "fatal: hunter22"))


def test_near_names() -> None:
    assert unknown_ref(HTTPS.url, "mian", ["main", "dev"]).hint == "Did you mean main?"
    assert unknown_ref(HTTPS.url, "zzz", ["main", "dev"]).hint == "It has dev, main."
    assert unknown_ref(HTTPS.url, "main", []).hint == "It has no branches yet."
    assert "\x1b" not in unknown_ref(HTTPS.url, "x\x1b[2J", ["x\x1b[3J"]).hint


def test_who_gives_no_commit_by_its_id() -> None:
    assert not_given_by_id("error: Server does not allow request for unadvertised object abc")
    assert not not_given_by_id("fatal: remote error: upload-pack: not our ref abc")
