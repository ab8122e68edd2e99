from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.adapters import tree
from app.adapters.tree import check_links, check_path
from app.errors import SourceRefused, TooLarge


@pytest.mark.parametrize(
    "path",
    [b"a", b"a/b.txt", b"--upload-pack=x", b"a b", b"a\\b", b'a"b', b".gitignore", b".github/x", b"git~2", "ü/日本".encode()],
)
def test_names_that_are_taken(path: bytes) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (b"", "empty part"),
        (b"/etc/passwd", "absolute"),
        (b"../x", r"\.\."),
        (b"a/../../x", r"\.\."),
        (b"a/..", r"\.\."),
        (b"./a", "empty part"),
        (b"a//b", "empty part"),
        (b"a/", "empty part"),
        (b".git/config", "git's own"),
        (b"a/.GIT/hooks/post-checkout", "git's own"),
        (b"GIT~1/x", "git's own"),
        (b".git. /x", "git's own"),
        (b".git::$INDEX_ALLOCATION/x", "git's own"),
        (".g\u200cit/x".encode(), "git's own"),
        (b"a\0b", "control"),
        (b"a\nb", "control"),
        (b"a\tb", "control"),
        (b"a\x1b[2J", "control"),
        ("a\u202eb".encode(), "control"),
        ("a\x9bb".encode(), "control"),
        (b"a\xff", "UTF-8"),
        (b"a" * 256, "255 bytes"),
        (b"/".join([b"a" * 200] * 20), "3072 bytes"),
        (b"/".join([b"a"] * 65), "64 folders"),
    ],
)
def test_names_that_are_refused(path: bytes, why: str) -> None:
    with pytest.raises(SourceRefused, match=why) as raised:
        check_path(path)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


INSIDE = [
    {b"a": b"b"},
    {b"d/a": b"../b"},
    {b"d/e/a": b"../../x/./y//z"},
    {b"x": b".", b"y": b"x/x/x/a"},
    {b"x": b"d/e", b"y": b"x/../f"},
    {b"a": b"not/there"},
    {b"d/a": b".."},
    {b"d/a": b"e/../../b"},
]
OUTSIDE = [
    {b"a": b"/etc/passwd"},
    {b"a": b"/"},
    {b"a": b".."},
    {b"a": b"../a"},
    {b"d/a": b"../../b"},
    {b"x": b".", b"y": b"x/../b"},
    {b"x": b"d", b"y": b"x/../../b"},
    {b"x": b".", b"d/y": b"../x/x/x/../b"},
    {b"d/x": b"..", b"y": b"d/x/../b"},
    {b"a": b"b", b"b": b"c", b"c": b"../out"},
]


@pytest.mark.parametrize("links", INSIDE)
def test_links_that_stay_inside(links: dict[bytes, bytes]) -> None:
    check_links(links)


@pytest.mark.parametrize("links", OUTSIDE)
def test_links_that_lead_out(links: dict[bytes, bytes]) -> None:
    with pytest.raises(SourceRefused, match="leads out of the source"):
        check_links(links)


@pytest.mark.parametrize(("links", "inside"), [*((links, True) for links in INSIDE), *((links, False) for links in OUTSIDE)])
def test_the_kernel_agrees(tmp_path: Path, links: dict[bytes, bytes], inside: bool) -> None:
    root = tmp_path / "root"
    for folder in ("d/e", "x/y", "not"):
        if not any(os.fsencode(folder).split(b"/")[0] == link for link in links):
            (root / folder).mkdir(parents=True)
    (root / "d").mkdir(exist_ok=True)
    for link, target in links.items():
        os.symlink(target, os.fsencode(root) + b"/" + link)
    real = [os.path.realpath(os.fsencode(root) + b"/" + link) for link in links]
    top = os.fsencode(root)
    assert all(path == top or path.startswith(top + b"/") for path in real) == inside


@pytest.mark.parametrize("links", [{b"a": b"a"}, {b"a": b"b", b"b": b"a"}, {b"a": b"a/x"}])
def test_circles_are_refused(links: dict[bytes, bytes]) -> None:
    with pytest.raises(SourceRefused, match="circle"):
        check_links(links)


@pytest.mark.parametrize("target", [b"", b"a\0b", b"a" * 4000])
def test_targets_that_are_none(target: bytes) -> None:
    with pytest.raises(SourceRefused, match="usable target"):
        check_links({b"a": target})


def test_entangled_links_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "LINK_STEPS", 10_000)
    links = {b"x": b"."} | {b"l%d" % number: b"x/" * 30 + b"f" for number in range(1000)}
    with pytest.raises(TooLarge, match="entangled"):
        check_links(links)
