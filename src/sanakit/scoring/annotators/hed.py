"""Soft edges by HED, whose weights are fetched once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from sanakit.checkpoints.annotators.hed import hed_folder, load_hed
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.hed import HED
from sanakit.scoring.annotators.edges import Gray


@lru_cache(maxsize=1)
def _network() -> HED:
    return load_hed(hed_folder())


@torch.no_grad()
@own_arithmetic()
def hed_edges(pixels: NDArray[np.uint8]) -> Gray:
    """``(H, W)`` from 0 to 255.

    Raises:
        DownloadError: the weights are not on this machine and could not be fetched.
    """
    levels = pixels[..., ::-1].astype(np.float32) - np.array(HED.MEAN, np.float32)
    edges = _network()(torch.from_numpy(levels).permute(2, 0, 1)[None])[0, 0]
    return np.asarray((255 * edges).round().clamp(0, 255).numpy(), np.float64)
