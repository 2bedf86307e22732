"""Pictures that are kept: a folder of files as they were written, found again by what their records say."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.config import json_values
from sanakit.common.errors import OutputError, PictureError, SanakitError
from sanakit.common.files import unwritten, write_whole
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.request import MAX_FPS, MAX_FRAMES
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.serving.heads import ENDINGS, VIDEOS, film_strip, first_frame, head_of
from sanakit.serving.studio.given import Given, hashes_of
from sanakit.serving.wishes import Files

logger = logging.getLogger(__name__)

_THUMBNAIL = 384  # pixels of its longer side, at most
_STRIP, _STRIP_HEIGHT = 8, 72  # frames, and their pixels


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A picture or a clip of the gallery.

    Args:
        sha256: the first 16 digits, of the file.
        size: width and height.
        record: the JSON of its record, not checked; empty where there is none.
    """

    path: Path
    sha256: str
    size: tuple[int, int]
    record: str

    @cached_property
    def request(self) -> dict[str, Any]:
        """What was asked for, as far as it can be read."""
        try:
            found = json_values(self.record)["request"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def _num_frames(self) -> object:
        """Of the file, which has more than were asked for where a clip was extended."""
        whole = json_values(self.record).get("image") if self.request else None
        made = whole.get("num_frames") if isinstance(whole, dict) else None
        return self.request.get("num_frames") if made is None else made

    @cached_property
    def searched(self) -> str:
        """All that words are looked for in."""
        names = ("prompt", "negative_prompt", "seed", "solver", "adapters")
        told = " ".join(json.dumps(self.request.get(name, ""), ensure_ascii=False) for name in names)
        return f"{self.path.name} {told}".casefold()

    @property
    def clip(self) -> dict[str, Any] | None:
        """Its frames, frames a second, and whether it is a video to a browser or an animated picture; None for a
        picture."""
        frames, fps = self._num_frames, self.request.get("fps")
        if not (isinstance(frames, int) and isinstance(fps, int) and 1 <= frames <= MAX_FRAMES and 1 <= fps <= MAX_FPS):
            return None
        return {"num_frames": frames, "fps": fps, "video": self.path.suffix.lower() in VIDEOS}

    @property
    def facts(self) -> dict[str, Any]:
        """For the page."""
        return {
            "name": self.path.name,
            "sha256": self.sha256,
            "size": f"{self.size[0]}x{self.size[1]}",
            "prompt": str(self.request.get("prompt", "")),
            "seed": self.request.get("seed"),
            "clip": self.clip,
        }


class Gallery:
    """The pictures in ``folder``, newest first, also those that somebody else put there or took away."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.given = folder, Given(folder / "given")
        self._known: dict[str, Kept | None] = {}
        self._lock = threading.Lock()

    def keep(self, content: bytes, files: Files | None = None) -> None:
        """A finished picture's file as it is, once, and what of ``files`` it was made from; one that cannot be written
        is told in the log alone."""
        sha256 = hashlib.sha256(content).hexdigest()[:16]
        if any(self.folder.glob(f"*-{sha256}.*")):
            return
        head = head_of(content)
        if files is not None and head.record:
            self.given.keep(files, PictureRecord.from_json(head.record))
        try:
            write_whole(self.folder / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{sha256}.{head.ending}", content)
        except OutputError as error:
            logger.error("the gallery lacks a picture: %s", error)

    def find(self, words: str = "", after: str = "", limit: int = 60) -> tuple[Sequence[Kept], int]:
        """Up to ``limit`` pictures older than ``after`` whose records have all words, and how many have them in all."""
        wanted = words.casefold().split()
        found = [kept for kept in self._all() if all(word in kept.searched for word in wanted)]
        start = (
            next((number for number, kept in enumerate(found) if kept.path.name < after), len(found)) if after else 0
        )
        return found[start : start + limit], len(found)

    def get(self, name: str) -> Kept:
        """Raises PictureError for a name that is no picture of the gallery."""
        with self._lock:
            found = self._known.get(name) if name in self._known else self._read(name)
        if found is None or not found.path.is_file():
            raise PictureError(f"there is no picture {name[:80]!r} in the gallery; it may have been deleted")
        return found

    def delete(self, name: str) -> None:
        """And what it alone was made from. Raises PictureError for no picture of the gallery, OutputError where a file
        cannot be removed."""
        deleted = self.get(name)
        with unwritten(deleted.path):
            deleted.path.unlink(missing_ok=True)
        others = self._all()
        sources = hashes_of(deleted.record)
        self.given.forget(sha256 for sha256 in sources if not any(sha256 in each.record for each in others))

    def thumbnail(self, name: str) -> bytes:
        """A small WebP of a picture."""
        small = first_frame(self.get(name).path)
        small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
        return _written(small, "webp")

    def first_picture(self, name: str) -> bytes:
        """The picture that a clip begins with, as PNG; raises PictureError where it is not here."""
        record = PictureRecord.from_json(self.get(name).record)
        if (path := self.given.find(record.request.image)) is None:
            raise PictureError(f"the picture that {name} begins with is not in the gallery")
        return _written(SourcePicture.of(path).image, "png")

    def strip(self, name: str) -> bytes:
        """Some frames of a clip beside each other as WebP; raises PictureError for a picture."""
        kept = self.get(name)
        if kept.clip is None:
            raise PictureError(f"{name} is a picture, and no clip")
        return _written(film_strip(kept.path, kept.clip["num_frames"], _STRIP, _STRIP_HEIGHT), "webp")

    def _all(self) -> list[Kept]:
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        with self._lock:
            for gone in self._known.keys() - names:
                del self._known[gone]
            for new in names - self._known.keys():
                self._known[new] = self._read(new)
            return [kept for name in sorted(names, reverse=True) if (kept := self._known[name]) is not None]

    def _read(self, name: str) -> Kept | None:
        path = self.folder / name
        if path.parent != self.folder or path.suffix.lower() not in ENDINGS:
            return None
        try:
            head = head_of(path)
        except (SanakitError, OSError, ValueError, SyntaxError):
            return None
        sha256 = path.stem.rpartition("-")[2]  # as `keep` names its files
        return Kept(path=path, sha256=sha256, size=head.size, record=head.record)


def _written(picture: Image.Image, kind: str) -> bytes:
    written = io.BytesIO()
    picture.save(written, kind, quality=85)
    return written.getvalue()
