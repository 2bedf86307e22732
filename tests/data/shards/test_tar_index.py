"""Members by offset, of whole tars and of damaged ones."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sanakit.data.shards.tar_index import index_tar

CONTENTS = {f"é{index}.png": bytes([index]) * (700 + index) for index in range(5)}


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in CONTENTS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_every_member_is_where_the_index_says(tar: Path) -> None:
    members, fault = index_tar(tar)
    whole = tar.read_bytes()
    assert fault is None
    assert {m.name: whole[m.offset : m.offset + m.size] for m in members} == CONTENTS


def test_a_tar_cut_anywhere_gives_what_is_whole_and_says_so(tar: Path) -> None:
    whole, members = tar.read_bytes(), index_tar(tar)[0]
    end = members[-1].offset + members[-1].size
    for cut in range(0, end + 512, 97):
        tar.write_bytes(whole[:cut])
        found, fault = index_tar(tar)
        assert fault, cut
        assert found == [m for m in members if m.offset + m.size <= cut][: len(found)]
        padded = [m for m in members if m.offset + -(-m.size // 512) * 512 <= cut]
        assert len(found) >= len(padded), cut


def test_a_damaged_header_in_the_middle_is_told(tar: Path) -> None:
    content, members = bytearray(tar.read_bytes()), index_tar(tar)[0]
    content[members[3].offset - 512 : members[3].offset] = b"\x99" * 512
    tar.write_bytes(content)
    found, fault = index_tar(tar)
    assert found == members[:3]
    assert fault


@pytest.mark.parametrize("content", [b"", b"no tar at all " * 100, b"\x1f\x8b" + bytes(2000)])
def test_what_is_no_tar(tar: Path, content: bytes) -> None:
    tar.write_bytes(content)
    found, fault = index_tar(tar)
    assert not found
    assert fault


def test_an_empty_tar_is_no_damage(tar: Path) -> None:
    tarfile.open(tar, "w").close()
    assert index_tar(tar) == ([], None)
