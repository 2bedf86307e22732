"""Scenes in motion as pixels for an autoencoder of clips, painted as training goes on."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sanakit.common.errors import RequestError
from sanakit.common.pixels import to_signed
from sanakit.common.seeds import derived_seed
from sanakit.features.batches import PixelBatch
from sanakit.features.configs import ScenePictures
from sanakit.features.scenes import Paintings, checked_sizes, identity_of_scenes, one_rate, open_bank
from sanakit.features.work import Demand


class PaintedClips:
    """Micro-batches of clips ``(B, 3, T, H, W)`` of scenes; no scene comes twice.

    With ``crop`` a window where most moves: what stands still is soon learned.
    """

    num_batches = None

    def __init__(self, paintings: Paintings, demand: Demand, size: int, crop: int | None) -> None:
        self._paintings, self._size, self._crop = paintings, size, crop
        self._batch_size, self._frames = demand.batch_size, demand.frames[0]

    def num_samples(self, number: int) -> int:
        return self._batch_size

    def batch(self, number: int) -> PixelBatch:
        first = number * self._batch_size
        clips = [self._clip(index) for index in range(first, first + self._batch_size)]
        return PixelBatch(torch.stack([to_signed(list(clip)).transpose(0, 1).contiguous() for clip in clips]))

    def _clip(self, index: int) -> NDArray[np.uint8]:
        clip = self._paintings.paint_clip(0, index, self._size, self._frames)
        return clip if self._crop is None else clip[(slice(None), *window_of_motion(clip, self._crop))]


def window_of_motion(clip: NDArray[np.uint8], crop: int) -> tuple[slice, slice]:
    """Rows and columns of the square around the middle of what changes in ``(T, H, W, 3)``, within the frame."""
    changes = np.abs(np.diff(clip.astype(np.int16), axis=0)).sum(axis=(0, 3)).astype(np.float64)  # (H, W)
    total, sides = changes.sum(), clip.shape[1:3]
    middle = [side / 2 for side in sides]
    if total:
        middle = [
            float((changes.sum(axis=1 - axis) * np.arange(side)).sum() / total) for axis, side in enumerate(sides)
        ]
    starts = [int(min(max(at - crop / 2, 0), side - crop)) for at, side in zip(middle, sides, strict=True)]
    return slice(starts[0], starts[0] + crop), slice(starts[1], starts[1] + crop)


def scene_clips(config: ScenePictures, demand: Demand, *, multiple: int, crop: int | None) -> PaintedClips:
    """See ``pixel_data``. The scenes follow from both seeds, so every stage of a run sees its own."""
    sizes = checked_sizes(demand.resolutions, multiple)
    if len(sizes) > 1 or len(demand.frames) > 1:
        raise RequestError("clips of scenes are painted at one resolution and one length")
    if crop is not None and (crop > sizes[0] or crop % multiple):
        raise RequestError(
            f"a window of {crop} px does not fit: it must be a multiple of {multiple} px of at most {sizes[0]} px"
        )
    bank = open_bank(config.bank, config.names)
    demand.on_identity(identity_of_scenes(bank))
    both = derived_seed(config.seed, demand.seed, bits=56)
    return PaintedClips(Paintings(bank, both, fps=one_rate(demand)), demand, sizes[0], crop)
