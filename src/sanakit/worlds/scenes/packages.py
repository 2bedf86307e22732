"""The npm packages whose drawings the starter's data is made from; only their JSON is read, no script is run."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sanakit.common.errors import DownloadError


@dataclass(frozen=True, kw_only=True, slots=True)
class IconPackage:
    """A pinned package of the npm index, with what its licence asks us to record."""

    name: str
    version: str
    licence: str
    copyright: str

    @property
    def tarball(self) -> str:
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


FLUENT_FLAT = IconPackage(
    name="@iconify-json/fluent-emoji-flat",
    version="1.2.6",
    licence="MIT",
    copyright="Copyright (c) Microsoft Corporation",
)


def fetch_package(package: IconPackage, cache_dir: Path) -> Path:
    """The package's tarball in ``cache_dir``, fetched with ``npm pack`` if it is not there yet.

    Raises:
        DownloadError: npm is not installed, or could not fetch the package.
    """
    tarball = cache_dir / package.tarball
    if tarball.exists():
        return tarball
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(
            f"npm is needed once to fetch {package.name} {package.version} but is not on the PATH; "
            f"install Node.js, or put {package.tarball} into {cache_dir}"
        )
    cache_dir.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", "--ignore-scripts", "--silent", f"{package.name}@{package.version}"]
    finished = subprocess.run(command, check=False, cwd=cache_dir, capture_output=True, text=True)
    if finished.returncode or not tarball.exists():
        reason = (finished.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DownloadError(f"npm could not fetch {package.name} {package.version} into {cache_dir}: {reason}")
    return tarball


def read_icons(tarball: Path) -> dict[str, dict[str, Any]]:
    """Icon name -> {"body": SVG text, ...} of an iconify package, every icon 32 units square unless it says so."""
    with tarfile.open(tarball) as archive:
        member = archive.extractfile("package/icons.json")
        if member is None:
            raise DownloadError(f"{tarball} holds no package/icons.json; fetch the package again")
        return cast(dict[str, dict[str, Any]], json.load(member)["icons"])
