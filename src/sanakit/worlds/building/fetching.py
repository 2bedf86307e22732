"""Brings a pinned package onto the disk with the index's own client, or from its public address."""

from __future__ import annotations

import http.client
import io
import shutil
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from sanakit.common.errors import DownloadError
from sanakit.common.fetching.made_once import file_digest
from sanakit.common.files import unwritten, written_aside
from sanakit.worlds.building.packages import Package

_CHUNK = 1 << 20
_TIMEOUT_S = 30.0  # without an answer, or without a byte
_SLOWEST = 50e3  # bytes a second that a client must bring
_BROKEN_OFF = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)
_MODES = {200: "wb", 206: "ab"}  # by the answer's status: the whole file, or the rest of it


def fetch_package(package: Package, folder: Path) -> Path:
    """The package's file in ``folder``, fetched if it is not there yet and checked against its SHA-256.

    npm and apt-get are asked first, so that the index a user has set is the one that is used. What they could not
    bring comes from the public index; a transfer that broke off is continued, by the next call too.

    Raises:
        DownloadError: it is not offered, or not reachable, or its bytes are not the pinned ones.
        OutputError: ``folder`` cannot be written.
    """
    path = folder / package.file
    with unwritten(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size != package.size:  # a client was stopped
            path.unlink()
        if not path.exists():
            reason = _ask_client(package, folder)
            if not path.exists():
                _download(package, path, reason)
        _check(package, path)
    return path


def _ask_client(package: Package, folder: Path) -> str:
    """Why the client did not bring the file; empty if it did, or if there is none."""
    for command, seconds in _commands(package):
        if shutil.which(command[0]) is None:
            return ""
        try:
            finished = subprocess.run(
                command, check=False, cwd=folder, capture_output=True, text=True, timeout=seconds, errors="replace"
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} had no answer in {seconds:.0f} s"
        if finished.returncode:
            return (finished.stderr.strip().splitlines() or ["no reason given"])[-1]
    return ""


def _commands(package: Package) -> list[tuple[list[str], float]]:
    """What a client is asked, and the seconds it may take. npm waits for ever where a proxy does not answer, and its
    own limits change nothing of that; so a small question goes before the large one."""
    enough = _TIMEOUT_S + package.size / _SLOWEST
    match package.index:
        case "npm":
            title = f"{package.name}@{package.version}"
            return [
                (["npm", "view", "--silent", title, "version"], _TIMEOUT_S),
                (["npm", "pack", "--ignore-scripts", "--silent", title], enough),
            ]
        case "debian":
            limits = [f"-oAcquire::{kind}::Timeout={_TIMEOUT_S:.0f}" for kind in ("http", "https")]
            return [(["apt-get", "download", "--quiet", *limits, f"{package.name}={package.version}"], enough)]


def _download(package: Package, path: Path, reason: str) -> None:
    """From the public index, continuing ``.part`` if there is one; ``reason`` is why the client did not bring it."""
    part = path.with_name(f"{path.name}.part")
    have = _size_kept(part, package)
    try:
        if have < package.size:
            have = _transfer(package, part, have)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the index has fewer bytes than are kept here
            part.unlink(missing_ok=True)
        fate = "is not offered" if error.code in (404, 410) else "could not be fetched"
        raise DownloadError(f"{package.title} {fate} ({_both(reason, f'HTTP {error.code}')})") from error
    except _BROKEN_OFF as error:
        raise DownloadError(f"{package.title} could not be fetched ({_both(reason, str(error))})") from error
    if have < package.size:
        ended = f"the transfer ended after {have / 1e6:.1f} of {package.size / 1e6:.1f} MB and will be continued"
        raise DownloadError(f"{package.title} could not be fetched ({_both(reason, ended)})")
    part.rename(path)


def _size_kept(part: Path, package: Package) -> int:
    """Bytes of a transfer that broke off. More than the whole are of something else, and removed."""
    have = part.stat().st_size if part.exists() else 0
    if have <= package.size:
        return have
    part.unlink()
    return 0


def _transfer(package: Package, part: Path, have: int) -> int:
    """The bytes from ``have`` on, as far as they come; gives how many there are then."""
    request = urllib.request.Request(_address(package), headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        if answer.status not in _MODES:
            raise http.client.HTTPException(f"HTTP {answer.status}")
        with part.open(_MODES[answer.status]) as file:
            shutil.copyfileobj(answer, file, _CHUNK)
    return part.stat().st_size


def _both(reason: str, other: str) -> str:
    return f"{reason}; {other}" if reason else other


def _address(package: Package) -> str:
    match package.index:
        case "npm":
            return f"https://registry.npmjs.org/{package.name}/-/{package.name.split('/')[-1]}-{package.version}.tgz"
        case "debian":
            return f"https://deb.debian.org/debian/pool/main/{package.name[0]}/{package.name}/{package.file}"


def _check(package: Package, path: Path) -> None:
    if (found := file_digest(path)) == package.sha256:
        return
    path.unlink()
    raise DownloadError(
        f"{package.file} is not the file it should be (SHA-256 {found[:12]}..., pinned {package.sha256[:12]}...); "
        f"it was removed, fetch it again or update sanakit"
    )


def unpack_deb(package: Path, target: Path) -> Path:
    """The files of a Debian package in ``target``, unpacked if the folder is not there yet; nothing in it is run.

    Raises:
        DownloadError: the file is no Debian package that can be read here.
        OutputError: ``target`` cannot be written.
    """
    if target.exists():
        return target
    with written_aside(target) as building, package.open("rb") as file:
        name, content = _data_of(package, file)
        if name.endswith(".zst"):
            content = _without_zstd(package, content)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(building, filter="data")
    return target


def _data_of(package: Path, file: IO[bytes]) -> tuple[str, bytes]:
    """Name and bytes of ``data.tar.*``. A .deb is an ``ar`` archive: headers of 60 bytes, members on even places."""
    if file.read(8) == b"!<arch>\n":
        while header := file.read(60):
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            if name.startswith("data.tar"):
                return name, file.read(size)
            file.seek(size + size % 2, 1)
    raise DownloadError(f"{package} is not a Debian package; remove it and fetch it again")


def _without_zstd(package: Path, content: bytes) -> bytes:
    if (unzstd := shutil.which("unzstd")) is None:
        raise DownloadError(f"{package} is packed with zstd; install zstd, whose unzstd unpacks it")
    return subprocess.run([unzstd, "--stdout"], input=content, check=True, capture_output=True).stdout
