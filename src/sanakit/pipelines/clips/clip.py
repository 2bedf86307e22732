"""What a pipeline returns of a model of clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.pipelines.clips.passing import describe_frames
from sanakit.pipelines.clips.place import ClipPlace, choose_clip_place
from sanakit.pipelines.request import VideoRequest
from sanakit.pipelines.result import GeneratedImage


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GeneratedClip(GeneratedImage):
    """One finished clip.

    ``frames`` are ``(T, H, W, 3)`` of 8 bits for ``output="pil"`` and float32 in [0, 1] for ``"np"``; ``pixels``
    ``(3, T, H, W)`` float32, about [-1, 1], for ``"tensor"``; ``latent`` ``(1, C, t, h, w)`` float32 always. One that
    was written while it was decoded has its ``file`` instead.
    """

    frames: NDArray[Any] | None = None
    file: Path | None = None

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """The frames of 8 bits, ``(T, H, W, 3)``, whatever output was asked for.

        Raises:
            RequestError: it was not decoded, or went into a file.
        """
        if self.file is not None:
            raise RequestError(
                f"the frames of this clip are in {self.file} alone, as they were written while it was decoded; make it "
                f"without save_to to have them here"
            )
        if self.frames is not None:
            exact = self.frames.dtype == np.uint8
            return self.frames if exact else (self.frames * 255.0).round().astype(np.uint8)
        if self.pixels is None:
            raise RequestError('this clip is a latent only; make it without output="latent", or decode it first')
        levels = ((self.pixels + 1) * 127.5).round().clamp(0, 255)
        return levels.byte().permute(1, 2, 3, 0).contiguous().numpy()

    @property
    def fps(self) -> int:
        """Frames a second, as its request says."""
        assert isinstance(self.record.request, VideoRequest)
        assert self.record.request.fps is not None
        return self.record.request.fps

    @property
    def picture(self) -> Image.Image:
        """The first frame."""
        return Image.fromarray(self.pictures[0])

    def save(self, output: str | Path | Any = ".", *, metadata: bool = True) -> Path:
        """Write what ``sanakit generate --frames`` writes, with the record inside; gives the file.

        Args:
            output: a file, whose suffix .mp4, .webm, .gif, .webp or .png (a folder of them) decides; or a folder, which
                gets an MP4 under a new name of prompt and seed.
            metadata: False leaves prompt, seed and settings out.

        Raises:
            RequestError: that is no place for a clip, or the clip was not decoded.
            OutputError: it cannot be written.
        """
        place = output if isinstance(output, ClipPlace) else choose_clip_place(output)
        frames, record = self.pictures, self.record
        if record.image is None:
            record = record.model_copy(update={"image": describe_frames(frames)})
        path, _ = replace(place, with_record=place.with_record and metadata).write(frames, record)
        return path
