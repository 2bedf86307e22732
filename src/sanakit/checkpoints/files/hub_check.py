"""Whether files in the hub's cache are those that the hub has, byte for byte, and no others lie between them.

The hub names the content of every file: of large ones by SHA-256, of small ones as git does. Its answers have these
names, so has the listing that its client keeps, and without one so have the files that a snapshot's links lead to.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.common.config import json_values
from sanakit.common.fetching.made_once import remembered_digest

_DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GIT_DIGITS = 40  # of a digest that git made, which is of small files


@dataclass(frozen=True, slots=True)
class Listed:
    """What the hub says of a file: its bytes, where that is known, and its digest, "" where that is not."""

    num_bytes: int | None
    digest: str


Listing = Mapping[str, Listed]
"""All files of a repository by their paths in it; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of one repository in the hub's cache: ``CACHE/models--org--name/snapshots/COMMIT``."""

    folder: Path

    @classmethod
    def around(cls, path: Path) -> Snapshot | None:
        """The one that a path lies in; None of any other place."""
        for folder in (path.absolute(), *path.absolute().parents):
            is_one = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
            if is_one and _COMMIT.fullmatch(folder.name):
                return cls(folder)
        return None

    @property
    def repo(self) -> str:
        return self.folder.parent.parent.name.removeprefix("models--").replace("--", "/")

    @property
    def commit(self) -> str:
        return self.folder.name

    def listing(self) -> Listing:
        """As the client kept it, from the file itself: the client's own call gives no digests of large files."""
        place = self.folder.parents[1] / "trees" / f"{self.commit}.json"
        try:
            files = json_values(place.read_bytes())["files"].items()
            return {name: Listed(file["size"], file.get("lfs_sha256") or file["blob_id"]) for name, file in files}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # an older client has none, or another form
            return {}

    def is_linked(self, name: str) -> bool:
        """Whether a file is a link into the cache's own files, as the client makes it, which it then makes anew."""
        path = self.folder / name
        return path.is_symlink() and Path(os.readlink(path)).parent.name == "blobs"

    def listed(self, name: str, listing: Listing) -> Listed:
        """What is known of a file."""
        path, known = self.folder / name, listing.get(name, Listed(None, ""))
        blob = Path(os.readlink(path)).name if path.is_symlink() else ""  # a blob may be a link itself, of another name
        return known if known.digest or not _DIGEST.fullmatch(blob) else Listed(known.num_bytes, blob)

    def strangers(self, names: Iterable[str], listing: Listing) -> Iterator[str]:
        """Files beside these that the repository does not have; none where its listing is not known."""
        for folder in sorted({(self.folder / name).parent for name in names} if listing else ()):
            found = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
            inside = (path.relative_to(self.folder).as_posix() for path in found)
            yield from (name for name in inside if name not in listing)


def listing_of(files: Iterable[Any]) -> Listing:
    """Of what the hub answers about a repository."""
    return {file.rfilename: Listed(file.size, file.lfs.sha256 if file.lfs else file.blob_id or "") for file in files}


def digest_of(path: Path, like: str, *, every_byte: bool = False) -> str:
    """The digest of a file, of the kind of ``like``.

    Args:
        every_byte: read a large file too that has not changed since it was last read, as far as the disk tells.
    """
    if len(like) != _GIT_DIGITS:
        return remembered_digest(path, every_byte=every_byte)
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def faults(snapshot: Snapshot, names: Collection[str], listing: Listing) -> dict[str, str]:
    """What is wrong, by file, of those that are there; large files are read once, as long as the disk tells of no
    change."""
    found = {}
    for name in names:
        path, listed = snapshot.folder / name, snapshot.listed(name, listing)
        if not path.is_file():
            continue
        num_bytes = path.stat().st_size
        if listed.num_bytes not in (None, num_bytes):
            found[name] = f"has {num_bytes} bytes and the hub's has {listed.num_bytes}"
        elif listed.digest and (digest := digest_of(path, listed.digest)) != listed.digest:
            found[name] = f"has the digest {digest[:12]} and the hub's has {listed.digest[:12]}"
    return found
