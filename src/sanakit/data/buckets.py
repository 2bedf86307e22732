"""Buckets: which resolution, and which shape of it, each picture is trained at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sanakit.common.aspect_ratio import BASE_SIZES, aspect_ratio_bins
from sanakit.common.errors import RequestError

_CHUNK = 1 << 18  # pictures at once, so that a million of them need little memory


@dataclass(frozen=True, slots=True)
class TrainingBins:
    """The shapes of one resolution, flattest first.

    ``ratios`` is ``(bins,)`` height / width, rising; ``sizes`` is ``(bins, 2)``, height and width in pixels.
    """

    ratios: NDArray[np.float64]
    sizes: NDArray[np.int64]

    def nearest(self, ratios: NDArray[np.float64]) -> NDArray[np.int64]:
        """For each ratio height / width the number of the bin that differs least; the flatter one on a tie."""
        if len(self.ratios) == 1:
            return np.zeros(len(ratios), dtype=np.int64)
        upper = np.searchsorted(self.ratios, ratios).clip(1, len(self.ratios) - 1)
        is_lower = np.abs(self.ratios[upper - 1] - ratios) <= np.abs(self.ratios[upper] - ratios)
        return np.asarray(upper - is_lower, dtype=np.int64)


def training_bins(resolution: int, *, multiple: int = 32) -> TrainingBins:
    """The bins of one resolution.

    Where SANA published a table whose sides are multiples of ``multiple`` it is taken as it is, with its rounded
    ratios. Else the table of 1024 px is scaled and its sides rounded to ``multiple`` (halves up, never to nothing);
    shapes that then coincide are one bin, and the ratio of a bin is that of its own sides.

    Args:
        resolution: side in pixels of the square picture of that area.
        multiple: what every side must be divisible by, such as the compression of the autoencoder.

    Raises:
        RequestError: ``resolution`` is no positive multiple of ``multiple``.
    """
    if resolution < 1 or resolution % multiple:
        raise RequestError(
            f"a resolution of {resolution} px has no bins with sides that are multiples of {multiple} px; "
            f"choose one that is a multiple itself, such as {max(1, round(resolution / multiple)) * multiple}"
        )
    if resolution in BASE_SIZES:
        table = aspect_ratio_bins(resolution, training=True)
        if all(side % multiple == 0 for size in table.values() for side in size):
            return TrainingBins(np.array(list(table)), np.array(list(table.values()), dtype=np.int64))
    published = np.array(list(aspect_ratio_bins(1024, training=True).values()), dtype=np.int64)
    steps = (2 * published * resolution + 1024 * multiple) // (2 * 1024 * multiple)  # rounded side / multiple
    sizes = np.unique(np.maximum(steps, 1) * multiple, axis=0)
    ratios = sizes[:, 0] / sizes[:, 1]
    order = np.lexsort((-sizes.prod(axis=1), ratios))  # of equal ratios the larger one comes first and stays
    kept = order[np.concatenate([[True], np.diff(ratios[order]) > 0])]
    return TrainingBins(ratios[kept], sizes[kept])


def assign_bins(
    sizes: NDArray[np.int64] | Sequence[tuple[int, int]], resolutions: Sequence[int], *, multiple: int = 32
) -> NDArray[np.int64]:
    """The bin of every picture, as ``(pictures, 2)`` height and width in pixels.

    A picture goes to the largest resolution whose bin does not enlarge it, or to the smallest one if all would.

    Args:
        sizes: ``(pictures, 2)`` height and width.
        resolutions: one or more.
        multiple: see `training_bins`.

    Raises:
        RequestError: no resolution, one without bins, or a picture without pixels.
    """
    if not resolutions:
        raise RequestError("no resolution was given to train at; give one or more, such as 512")
    tables = [training_bins(resolution, multiple=multiple) for resolution in sorted(set(resolutions))]
    sizes = np.asarray(sizes, dtype=np.int64).reshape(-1, 2)
    if len(sizes) and sizes.min() < 1:
        index = int(np.argmin(sizes.min(axis=1)))
        raise RequestError(f"picture {index} of the data has a size of {sizes[index, 0]} x {sizes[index, 1]} px")
    chosen = np.empty_like(sizes)
    for start in range(0, len(sizes), _CHUNK):
        part = sizes[start : start + _CHUNK]
        ratios = part[:, 0] / part[:, 1]
        bins = tables[0].sizes[tables[0].nearest(ratios)]  # (pictures, 2)
        for table in tables[1:]:
            larger = table.sizes[table.nearest(ratios)]
            bins = np.where((larger <= part).all(axis=1, keepdims=True), larger, bins)
        chosen[start : start + _CHUNK] = bins
    return chosen
