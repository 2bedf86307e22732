"""Pictures as the tensors that feature networks take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.common.pixels import to_unit
from sanakit.scoring.extractors.extractor import FeatureExtractor


@torch.no_grad()
def extract_batch(
    extractor: FeatureExtractor, pictures: list[Image.Image], device: str | torch.device
) -> NDArray[np.float64]:
    """Features ``(B, F)`` of pictures of one size."""
    features: NDArray[np.float64] = extractor(as_images(pictures).to(device)).cpu().double().numpy()
    return features


def as_images(pictures: Iterable[Image.Image]) -> Tensor:
    """RGB pictures of one size as ``(B, 3, H, W)`` float32 in [0, 1]."""
    return to_unit([np.asarray(picture) for picture in pictures])


def are_pairs(images: Sequence[Image.Image], texts: Sequence[str]) -> bool:
    """Whether there is anything to score.

    Raises:
        RequestError: there are not as many texts as pictures.
    """
    if len(images) != len(texts):
        raise RequestError(f"{len(images)} pictures and {len(texts)} texts are no pairs; each picture needs one text")
    return bool(images)


def same_size_batches(pictures: Iterable[Image.Image], batch_size: int) -> Iterator[list[Image.Image]]:
    """Neighbours of one size, at most ``batch_size`` together, in their order."""
    batch: list[Image.Image] = []
    for picture in pictures:
        if batch and (len(batch) == batch_size or picture.size != batch[0].size):
            yield batch
            batch = []
        batch.append(picture)
    if batch:
        yield batch
