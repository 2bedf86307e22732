"""Clips that others are made from: their frames as a model is shown them, and what records tell of them."""

from __future__ import annotations

import hashlib
import io
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PrivateAttr

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import as_path
from sanakit.data.clips import clip_facts, each_frame_at
from sanakit.data.films.containers import Frame
from sanakit.data.fitting import fit_to_bin
from sanakit.pipelines.sources.picture import SourceFacts, check_shape, name_of

Frames = NDArray[np.uint8]
"""``(T, H, W, 3)`` RGB."""
_SAME = 0.05  # of a rate: 24 and 25 a second, or what a GIF makes of 8 and 16, whose times are hundredths of a second
_SLOWEST = 1e-5  # frames a second
_USABLE = "give the name of a file, its bytes, or frames (T, H, W, 3) of bytes or of numbers in [0, 1]"


class SourceClip(SourceFacts):
    """A clip that was given, upright and over white.

    ``sha256`` is that of its file, or of the frames row by row; ``fps`` is None where frames were given, which are
    taken one by one whatever the rate. A file is read when its frames are needed.
    """

    _called: ClassVar[str] = "the clip"
    _hashed: ClassVar[str] = "file"

    num_frames: int = Field(gt=0, le=10**9)
    fps: float | None = Field(None, ge=_SLOWEST, le=10**6)
    _content: Path | bytes | Frames | None = PrivateAttr(None)

    @staticmethod
    def of(given: object) -> SourceClip:
        """Of a file's name, its bytes, or frames ``(T, H, W, 3)`` of bytes or of numbers in [0, 1].

        Raises:
            PictureError: it cannot be read.
            RequestError: it is something else.
        """
        match given:
            case SourceClip():
                return given
            case str() | Path():
                return _of_file(as_path(given))
            case bytes():
                return _of_content(given, io.BytesIO(given), "")
            case np.ndarray():
                return _of_frames(_in_8_bits(given))
        raise RequestError(f"clip={type(given).__name__} is not usable; {_USABLE}.")

    def num_at(self, fps: float) -> int:
        """How many frames are taken of all of it at that rate."""
        return self.num_frames if self.fps is None else max(1, round(self.num_frames / self.fps * self._read_at(fps)))

    def _read_at(self, fps: float) -> float:
        """Its own rate where the other is nearly that."""
        return self.fps if self.fps is not None and abs(self.fps - fps) <= _SAME * fps else fps

    def frames(self, num_frames: int, fps: float) -> Iterator[Frame]:
        """The frames ``(H, W, 3)`` that are shown at the first moments at that rate; where it is nearly its own, all
        frames one by one.

        Raises:
            RequestError: only its facts are here, or its file is damaged there.
        """
        content = self._content
        if content is None:
            raise RequestError(f"{self} is not here; give it as clip=.")
        if isinstance(content, np.ndarray):
            yield from islice(content, num_frames)
            return
        try:
            with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
                yield from each_frame_at(file, num_frames=num_frames, fps=self._read_at(fps))
        except (PictureError, OSError) as error:
            told = getattr(error, "strerror", None) or error
            raise RequestError(f"{self} cannot be read: {told}.") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """The first frames of a clip at a rate, as another clip is made from them; or ``last_alone`` of these."""

    clip: SourceClip
    num_frames: int
    fps: int
    last_alone: bool = False

    def fitted(self, height: int, width: int) -> Iterator[Frame]:
        """Each ``(height, width, 3)``: resized until it covers that, then cut at the centre.

        Raises:
            RequestError: they cannot be read, or only facts of the clip are here.
        """
        check_shape(self.clip, height, width)
        frames = self.clip.frames(self.num_frames, self.fps)
        for frame in deque(frames, maxlen=1) if self.last_alone else frames:
            yield fit_to_bin(Image.fromarray(frame), height, width)


def as_clip(given: Any) -> Any:
    """What a request takes for a clip, or the facts of one."""
    return given if given is None or isinstance(given, Mapping) else SourceClip.of(given)


def _of_file(path: Path) -> SourceClip:
    if not path.is_file():  # a pipe would wait for its writer
        raise PictureError(f"{path} does not exist or is no file; give a clip")
    try:
        with path.open("rb") as file:
            return _of_content(path, file, name_of(path))
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read ({error.strerror})") from error


def _of_content(content: Path | bytes, file: io.BufferedReader | io.BytesIO, name: str) -> SourceClip:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    (width, height), facts = clip_facts(file)
    if facts.fps < _SLOWEST:
        raise PictureError(f"the clip has {facts.fps:g} frames a second, and shows nothing but its first frame")
    found = {"num_frames": facts.num_frames, "fps": facts.fps}
    return _holding(content, width=width, height=height, sha256=sha256, name=name, **found)


def _of_frames(frames: Frames) -> SourceClip:
    num, height, width, _ = frames.shape
    sha256 = hashlib.sha256(frames.tobytes()).hexdigest()
    return _holding(frames, width=width, height=height, sha256=sha256, num_frames=num)


def _holding(content: Path | bytes | Frames, **facts: Any) -> SourceClip:
    made = SourceClip(**facts)
    made._content = content
    return made


def _in_8_bits(frames: NDArray[Any]) -> Frames:
    if np.issubdtype(frames.dtype, np.floating) and frames.size and frames.min() >= 0 and frames.max() <= 1:
        frames = (frames * 255).round().astype(np.uint8)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not math.prod(frames.shape):
        raise RequestError(f"clip={frames.dtype} of shape {frames.shape} is not usable; {_USABLE}.")
    return frames
