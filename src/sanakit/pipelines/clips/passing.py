"""Frames on their way from a decoder to a file, and what is known of them once they have gone by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from sanakit.pipelines.clips.files import Frame
from sanakit.pipelines.record import ImageReference, PictureRecord

_NO_HASH = "0" * 64


class PassingFrames:
    """Frames that are taken once, each as it comes; none is kept.

    Args:
        frames: one or more.
    """

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = iter(frames)
        first = next(self._frames)
        self._frames = chain([first], self._frames)
        self.height, self.width = first.shape[:2]
        self._digest, self._count = hashlib.sha256(), 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self._digest.update(np.ascontiguousarray(frame).tobytes())
            self._count += 1
            yield frame

    @property
    def reference(self) -> ImageReference:
        """Size, number and hash of those that have gone by."""
        return self._reference(self._digest.hexdigest(), self._count)

    def announced(self, record: PictureRecord) -> PictureRecord:
        """The record as long as it will be at the end: with a hash of zeros, where it has none yet."""
        if record.image is not None:
            return record
        frames = getattr(record.request, "frames_in_all", None)
        return record.model_copy(update={"image": self._reference(_NO_HASH, frames)})

    def finished(self, record: PictureRecord) -> PictureRecord:
        """The record once all have gone by, with what was seen of them where it did not say it."""
        return record if record.image is not None else record.model_copy(update={"image": self.reference})

    def _reference(self, sha256: str, num_frames: int | None) -> ImageReference:
        return ImageReference(width=self.width, height=self.height, sha256=sha256, num_frames=num_frames)


def describe_frames(frames: Iterable[Frame]) -> ImageReference:
    """Size, number and hash of frames."""
    passing = PassingFrames(frames)
    for _ in passing:
        pass
    return passing.reference
