"""Packages: checked by their bytes, asked of the client first, and missed in one sentence."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from sanakit.common.errors import DownloadError
from sanakit.worlds.building import fetching
from sanakit.worlds.building.packages import FLUENT_FLAT, FURNITURE, PACKAGES

SMALL = replace(FLUENT_FLAT, file="small.tgz", size=5, sha256=hashlib.sha256(b"bytes").hexdigest())


def served(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """A public index that offers one file, on a machine without clients."""
    (folder / "index.tgz").write_bytes(content)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(fetching, "_address", lambda package: (folder / "index.tgz").as_uri())
    monkeypatch.setattr(fetching, "_MODES", {None: "wb"})  # files have no status


def test_a_file_that_is_there_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small.tgz").write_bytes(b"bytes")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fetching.fetch_package(SMALL, tmp_path) == tmp_path / "small.tgz"


def test_without_a_client_the_public_index_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(tmp_path, monkeypatch, b"bytes")
    assert fetching.fetch_package(SMALL, tmp_path / "new").read_bytes() == b"bytes"


def test_other_bytes_are_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(tmp_path, monkeypatch, b"other")
    with pytest.raises(DownloadError, match="not the file it should be"):
        fetching.fetch_package(SMALL, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_what_is_not_offered_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served(tmp_path, monkeypatch, b"bytes")
    (tmp_path / "index.tgz").unlink()
    with pytest.raises(DownloadError, match=r"fluent-emoji-flat 1\.2\.6 could not be fetched"):
        fetching.fetch_package(SMALL, tmp_path / "new")


def test_every_package_is_pinned() -> None:
    assert all(len(package.sha256) == 64 and package.size > 0 for package in PACKAGES.values())
    assert len({package.file for package in PACKAGES.values()}) == len(PACKAGES)
    assert FURNITURE.file.endswith(".deb")


def ar_member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
    return header.encode() + content + b"\n" * (len(content) % 2)


def test_a_debian_package_is_unpacked_here(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        member = tarfile.TarInfo("./usr/share/chair.sh3f")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"chair"))
    deb = tmp_path / "some.deb"
    deb.write_bytes(b"!<arch>\n" + ar_member("debian-binary", b"2.0") + ar_member("data.tar.xz", inner.getvalue()))
    folder = fetching.unpack_deb(deb, tmp_path / "unpacked")
    assert (folder / "usr/share/chair.sh3f").read_bytes() == b"chair"
    deb.write_bytes(b"something else")
    assert fetching.unpack_deb(deb, tmp_path / "unpacked") == folder
    with pytest.raises(DownloadError, match="not a Debian package"):
        fetching.unpack_deb(deb, tmp_path / "again")
