from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.adapters import process, tar
from app.adapters.git_import import commands
from app.adapters.tar import Member, Tar
from app.adapters.tree import Limits
from app.errors import SourceRefused, TooLarge

LIMITS = Limits(compressed=64 << 20, unpacked=256 << 20)
End = b"\0" * 1024


def entry(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def made(*entries: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def read(data: bytes, limits: Limits = LIMITS) -> list[tuple[Member, bytes]]:
    archive = Tar(io.BytesIO(data), limits)
    return [(member, b"".join(archive.data())) for member in archive]


def names(data: bytes, limits: Limits = LIMITS) -> list[bytes]:
    return [member.name for member, _ in read(data, limits)]


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_what_tar_writes_is_read(kind: int) -> None:
    long = "d" * 90 + "/" + "e" * 60 + "/f.txt"
    data = made(
        entry("./", type=tarfile.DIRTYPE, mode=0o755),
        entry("./run.sh", b"echo", mode=0o755),
        entry(long, b"x" * 1000),
        entry("ü.txt", b"u"),
        entry("empty"),
        link("l", "run.sh"),
        entry("folder", type=tarfile.DIRTYPE),
        kind=kind,
    )
    assert read(data) == [
        (Member(name=b"run.sh", kind="file", size=4, executable=True), b"echo"),
        (Member(name=long.encode(), kind="file", size=1000), b"x" * 1000),
        (Member(name="ü.txt".encode(), kind="file", size=1), b"u"),
        (Member(name=b"empty", kind="file"), b""),
        (Member(name=b"l", kind="link", target=b"run.sh"), b""),
        (Member(name=b"folder", kind="folder"), b""),
    ]


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_targets(kind: int) -> None:
    name, target = "/".join(["n" * 100] * 5), "/".join(["t" * 100] * 5)
    assert read(made(link(name, target), kind=kind)) == [(Member(name=name.encode(), kind="link", target=target.encode()), b"")]


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=posix"], ["--format=v7"], ["-z"]])
def test_the_systems_tar_is_read(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("hello")
    data = process.run(["tar", *options, "-C", str(tmp_path), "-cf", "-", "."]).stdout
    assert sorted(names(data)) == [b"a", b"a/b"]


def test_data_that_nobody_reads_is_skipped() -> None:
    archive = Tar(io.BytesIO(made(entry("a", b"x" * 700), entry("b", b"y"))), LIMITS)
    assert [member.name for member in archive] == [b"a", b"b"]


def test_gzip_in_several_members_and_small_pieces() -> None:
    data = made(entry("a", os.urandom(300_000)), entry("b", b"y"))
    packed = gzip.compress(data[:1000]) + gzip.compress(data[1000:]) + b"\0" * 100

    class Drip:
        def __init__(self) -> None:
            self.left = packed

        def read(self, n: int, /) -> bytes:
            piece, self.left = self.left[: min(n, 777)], self.left[min(n, 777) :]
            return piece

    assert [member.name for member in Tar(Drip(), LIMITS)] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x", r"\.\."),
        ("/etc/x", "absolute"),
        ("a/../../x", r"\.\."),
        (".git/hooks/post-checkout", "git's own"),
        ("sub/.GiT/config", "git's own"),
        ("git~1/config", "git's own"),
        ("a\nb", "control"),
        ("x" * 300, "255 bytes"),
        ("/".join(["x" * 200] * 21), "3072 bytes"),
        ("/".join(["x"] * 70), "64 folders"),
        ("./../x", r"\.\."),
        ("././x", "empty part"),
        ("..", r"\.\."),
    ],
)
def test_names_that_lead_out_are_refused(name: str, why: str) -> None:
    with pytest.raises(SourceRefused, match=why):
        read(made(entry(name, b"x")))
    with pytest.raises(SourceRefused, match=why):
        read(made(entry(name, type=tarfile.DIRTYPE)))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, "hard link"),
        ({"type": tarfile.CHRTYPE}, "character device"),
        ({"type": tarfile.BLKTYPE}, "block device"),
        ({"type": tarfile.FIFOTYPE}, "named pipe"),
        ({"type": b"S"}, "sparse"),
        ({"type": b"7"}, "unknown type"),
        ({"type": b"Z"}, "unknown type"),
    ],
)
def test_members_of_other_kinds_are_refused_by_name(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(SourceRefused, match=f"'bad' .*{why}"):
        read(made(entry("good", b"x"), entry("bad", **fields)))


def test_a_pax_sparse_bomb_is_refused() -> None:
    info, content = entry("sparse", b"0" * 512)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "1099511627776", "GNU.sparse.name": "big"}
    with pytest.raises(SourceRefused, match="sparse"):
        read(made((info, content), kind=tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    "entries",
    [
        [entry("a", b"1"), entry("a", b"2")],
        [entry("a", b"1"), link("a", "b")],
        [link("a", "b"), entry("a", b"1")],
        [entry("a/b", b"1"), entry("a", b"2")],
        [entry("a", type=tarfile.DIRTYPE), entry("a", b"1")],
        [entry("./a", b"1"), entry("a", b"2")],
    ],
)
def test_names_that_come_twice_are_refused(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(SourceRefused, match="twice"):
        read(made(*entries))


def test_a_folder_may_come_twice() -> None:
    folder = entry("a", type=tarfile.DIRTYPE)
    assert names(made(entry("a/b", b"1"), folder, folder)) == [b"a/b", b"a", b"a"]


@pytest.mark.parametrize("first", [entry("a", b"1"), link("a", "/etc")])
def test_a_file_below_a_link_or_a_file_is_refused(first: tuple[tarfile.TarInfo, bytes]) -> None:
    with pytest.raises(SourceRefused, match="'a/b' lies below 'a'"):
        read(made(first, entry("a/b", b"2")))


def test_entries_are_counted() -> None:
    limits = Limits(compressed=1 << 30, unpacked=1 << 30, entries=20)
    assert len(names(made(*[entry(f"f{i}") for i in range(20)]), limits)) == 20
    with pytest.raises(TooLarge, match="more than 20 entries"):
        read(made(*[entry(f"f{i}") for i in range(21)]), limits)
    with pytest.raises(TooLarge, match="more than 20 names"):
        read(made(*[entry(f"d{i}/f") for i in range(11)]), limits)


def test_two_hundred_thousand_entries_are_refused() -> None:
    block = made(entry("f"))[:512]

    def many() -> Iterator[bytes]:
        for number in range(200_000):
            yield renamed(block, b"f%06d" % number)

    with pytest.raises(TooLarge, match="more than 100000 entries"):
        for _ in Tar(Chunks(many()), LIMITS):
            pass


def test_names_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MAX_NAMES", 10_000)
    with pytest.raises(TooLarge, match="too long ones"):
        read(made(*[entry(f"{i}/" + "x" * 200) for i in range(100)]))


def test_a_pax_header_bomb_is_refused_before_it_is_read() -> None:
    bomb = lying("x", 4 << 30, b"x")
    with pytest.raises(SourceRefused, match="header of 4294967296 bytes"):
        read(bomb + End)


def test_a_long_name_bomb_is_refused_before_it_is_read() -> None:
    with pytest.raises(SourceRefused, match="header of 1073741824 bytes"):
        read(lying("x", 1 << 30, b"L") + End)


def test_extended_headers_without_end_are_counted() -> None:
    info, _ = entry("x", type=b"g")
    with pytest.raises(TooLarge, match="more than 50 entries"):
        read(made((info, b""))[:512] * 100, Limits(compressed=1 << 20, unpacked=1 << 20, entries=50))


@pytest.mark.parametrize(
    "body",
    [b"9 path=a", b"x path=a\n", b"99 path=a\n", b"0 path=a\n", b"10 pathaa\n", b" 9 path=a\n", b"-9 path=a\n"],
)
def test_malformed_pax_records_are_refused(body: bytes) -> None:
    data = made(entry("x", body, type=b"x"))[: 512 + 512] + made(entry("y", b"1"))
    with pytest.raises(SourceRefused, match=r"damaged|cut off"):
        read(data)


def test_a_pax_size_decides() -> None:
    """Two readers that disagree on a size disagree on which bytes are headers."""
    hidden = made(entry("../evil", b"x"))[:1024]
    info, content = entry("outer", hidden)
    info.pax_headers = {"size": "1024"}
    assert read(made((info, content), kind=tarfile.PAX_FORMAT)) == [(Member(name=b"outer", kind="file", size=1024), hidden)]


def test_global_pax_headers_name_nothing() -> None:
    out = io.BytesIO()
    headers = {"path": "../evil", "comment": "a" * 40}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
        archive.addfile(entry("good", b"1")[0], io.BytesIO(b"1"))
    assert names(out.getvalue()) == [b"good"]


def test_what_is_received_is_bounded() -> None:
    with pytest.raises(TooLarge, match="larger than 1 MiB"):
        read(made(entry("a", b"x" * (2 << 20))), Limits(compressed=1 << 20, unpacked=1 << 30))


def test_what_is_unpacked_is_bounded() -> None:
    data = gzip.compress(made(entry("a", b"x" * (1 << 20)), entry("b", b"x" * (1 << 20))))
    with pytest.raises(TooLarge, match=r"unpacks to more than 1\.5 MiB"):
        read(data, Limits(compressed=1 << 20, unpacked=3 << 19))


def test_a_single_file_over_the_limit_is_named() -> None:
    with pytest.raises(TooLarge, match="'big' is larger than 1 MiB"):
        read(lying("big", 1 << 40), Limits(compressed=1 << 20, unpacked=1 << 20))


def test_a_gzip_bomb_is_refused_by_its_ratio_and_costs_no_memory() -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = squeeze.compress(lying("zero", 1 << 30))
    bomb += b"".join(squeeze.compress(b"\0" * (1 << 20)) for _ in range(100)) + squeeze.flush()
    tracemalloc.start()
    with pytest.raises(TooLarge, match="more than 200 times its size"):
        for _ in Tar(io.BytesIO(bomb), Limits(compressed=1 << 30, unpacked=2 << 30)):
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("keep", [0, 1, 2, 300, 512, 700, 1024, 1536])
def test_an_archive_that_was_cut_off_is_refused(keep: int) -> None:
    data = made(entry("a", b"x" * 600))[:keep]
    with pytest.raises(SourceRefused, match="cut off"):
        read(data)


def test_gzip_that_was_cut_off_is_refused() -> None:
    data = gzip.compress(made(entry("a", os.urandom(5000))))
    with pytest.raises(SourceRefused, match="cut off"):
        read(data[:3000])


@pytest.mark.parametrize("data", [b"hello" * 500, b"PK\3\4" + b"\0" * 2000, b"\x1f\x8bnot really gzip" * 99])
def test_what_is_no_tar_is_refused(data: bytes) -> None:
    with pytest.raises(SourceRefused, match="no tar"):
        read(data)


def test_a_flipped_bit_in_a_header_is_refused() -> None:
    data = bytearray(made(entry("a", b"x")))
    data[0] ^= 1
    with pytest.raises(SourceRefused, match="damaged"):
        read(bytes(data))


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(SourceRefused, match="damaged"):
        read(renamed(made(entry("a"))[:512], b"a", size=b"\xff" * 12) + End)


def test_what_follows_the_end_is_drained_and_means_nothing() -> None:
    stream = io.BytesIO(made(entry("a", b"1")) + made(entry("../evil", b"1" * 1_000_000)))
    assert [member.name for member in Tar(stream, LIMITS)] == [b"a"]
    assert stream.read() == b""


def test_commands_for_git() -> None:
    data = made(entry('a"b\\c', b"hi", mode=0o755), link("l", "x"), entry("d", type=tarfile.DIRTYPE))
    assert b"".join(commands(Tar(io.BytesIO(data), LIMITS), "Fix\x1b[2J it\n", dirty=True)) == (
        b"feature done\ncommit refs/incoming/upload\nmark :1\n"
        b"committer Homeport <homeport@localhost> 0 +0000\n"
        b"data 33\nFix it\n\nUncommitted-changes: yes\n\n"
        b'M 100755 inline "a\\"b\\\\c"\ndata 2\nhi\n'
        b'M 120000 inline "l"\ndata 1\nx\n'
        b'get-mark :1\nls :1 ""\nreset refs/incoming/upload\nfrom ' + b"0" * 40 + b"\n\ndone\n"
    )


def test_an_archive_without_files_is_refused() -> None:
    with pytest.raises(SourceRefused, match="no files"):
        list(commands(Tar(io.BytesIO(made(entry("d", type=tarfile.DIRTYPE))), LIMITS), "", dirty=False))


def test_a_link_that_leads_out_is_refused_before_git_is_told_to_finish() -> None:
    given: list[bytes] = []
    told = commands(Tar(io.BytesIO(made(link("l", "/etc/passwd"))), LIMITS), "", dirty=False)
    with pytest.raises(SourceRefused, match="'l' is a link that leads out of the source, to '/etc/passwd'"):
        given.extend(told)
    assert b"done" not in b"".join(given)


def lying(name: str, size: int, kind: bytes = b"0") -> bytes:
    """A header that promises `size` bytes."""
    return entry(name, size=size, type=kind)[0].tobuf(tarfile.GNU_FORMAT)


class Chunks:
    """A stream of what an iterator yields."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, n: int, /) -> bytes:
        while len(self._rest) < n and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        piece, self._rest = self._rest[:n], self._rest[n:]
        return piece


def renamed(header: bytes, name: bytes, size: bytes | None = None) -> bytes:
    """A header with another name (and size field), its checksum made anew."""
    body = bytearray(header)
    body[:100] = name.ljust(100, b"\0")
    if size is not None:
        body[124:136] = size
    body[148:156] = b" " * 8
    body[148:156] = b"%06o\0 " % sum(body)
    return bytes(body)
