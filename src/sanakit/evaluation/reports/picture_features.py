"""Features of a set of pictures, one row each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.reports.picture_sets import Measured, PictureSet
from sanakit.scoring.extractors.extractor import FeatureExtractor
from sanakit.scoring.pixels import extract_batch, same_size_batches


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSet:
    """``features`` ``(N, F)`` float64, and what they are of: ``facts`` go into a report."""

    features: NDArray[np.float64]
    facts: dict[str, Any]


def extract_features(
    pictures: PictureSet, extractor: FeatureExtractor, *, batch_size: int = 16, device: str | torch.device = "cpu",
    skip_broken: bool = False, on_progress: OnProgress = no_progress,
) -> FeatureSet:  # fmt: skip
    """Read every picture once, and give it to the extractor with its neighbours of the same size.

    Raises:
        PictureError: a picture cannot be read; with ``skip_broken`` such are left out, counted and named instead.
        RequestError: fewer than two could be read.
    """
    measured, sizes = Measured(pictures), set[tuple[int, int]]()

    def readable() -> Iterator[Image.Image]:
        for index in range(len(pictures)):
            try:
                picture = pictures.read(index)
            except PictureError as error:
                if not skip_broken:
                    raise
                measured.problems.append(str(error))
                continue
            finally:
                on_progress(index + 1, len(pictures), "reading pictures")
            measured.add(picture)
            sizes.add(picture.size)
            yield picture

    rows = [extract_batch(extractor, batch, device) for batch in same_size_batches(readable(), batch_size)]
    if measured.num < 2:
        counted = f"{measured.num} readable pictures"
        raise RequestError(f"{pictures.path} has {counted}; a distance needs at least 2 on each side")
    return FeatureSet(features=np.concatenate(rows), facts=measured.facts(sizes=_range_of(sizes)))


def _range_of(sizes: set[tuple[int, int]]) -> str:
    if len(sizes) == 1:
        width, height = next(iter(sizes))
        return f"{width}x{height}"
    widths, heights = [width for width, _ in sizes], [height for _, height in sizes]
    return f"{len(sizes)} sizes, {min(widths)}-{max(widths)} wide, {min(heights)}-{max(heights)} high"
