"""What pictures and clips of the gallery were made from, kept beside them as long as one of these is there."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sanakit.common.errors import OutputError, SanakitError
from sanakit.common.files import unwritten, write_whole
from sanakit.data.pictures import open_picture
from sanakit.pipelines.record import PictureRecord
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.sources.picture import SourceFacts, SourcePicture
from sanakit.serving.wishes import Files

logger = logging.getLogger(__name__)


class Given:
    """Files as they came, in ``folder`` under the hashes that records name them by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, files: Files, record: PictureRecord) -> None:
        """Those of ``files`` that the record names; one that cannot be written is told in the log alone."""
        wanted = hashes_in(record.request)
        there = {sha256: content for sha256, content in _named(files, record.request) if sha256 in wanted}
        try:
            for sha256, content in there.items():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_whole(self.folder / sha256, content)
        except (OutputError, OSError) as error:
            logger.error("the gallery lacks what a picture was made from: %s", error)

    def find(self, facts: SourceFacts | None) -> Path | None:
        """The file of something that was given, if it is here."""
        path = None if facts is None else self.folder / facts.sha256
        return path if path is not None and path.is_file() else None

    def sources(self, record: PictureRecord) -> dict[str, Any]:
        """All that is here of what a picture or clip was made from, as `request_again` takes it."""
        request = record.request
        mask = None if request.edit is None else request.edit.mask
        facts: dict[str, Any] = {"image": request.image, "mask": mask, "clip": getattr(request, "clip", None)}
        found = {name: path for name, each in facts.items() if (path := self.find(each)) is not None}
        controls = [path for use in request.controls if (path := self.find(use.image)) is not None]
        return {**found, "controls": controls}

    def forget(self, hashes: Iterable[str]) -> None:
        """Raises OutputError where a file cannot be removed."""
        for sha256 in hashes:
            with unwritten(self.folder / sha256):
                (self.folder / sha256).unlink(missing_ok=True)


def hashes_in(request: GenerationRequest) -> set[str]:
    """Of all that a picture or clip was made from."""
    mask = None if request.edit is None else request.edit.mask
    facts = (request.image, mask, getattr(request, "clip", None), *(use.image for use in request.controls))
    return {each.sha256 for each in facts if each is not None}


def hashes_of(text: str) -> set[str]:
    """The same of the text of a record; none of one that cannot be read."""
    try:
        return hashes_in(PictureRecord.from_json(text).request)
    except SanakitError:
        return set()


def _named(files: Files, request: GenerationRequest) -> Iterator[tuple[str, bytes]]:
    for content in (*files.pictures, *files.controls):
        yield SourcePicture.of(open_picture(content)).sha256, content
    if files.clip is not None:
        yield hashlib.sha256(files.clip).hexdigest(), files.clip
    if files.mask is not None and request.edit is not None and request.edit.mask is not None:
        yield request.edit.mask.sha256, files.mask  # which says how it was read
