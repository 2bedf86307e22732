"""How alike two pictures are: PSNR and SSIM."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sanakit.common.errors import ShapeError

Floats = NDArray[np.float64]

_WINDOW = 11
_WINDOW_SIGMA = 1.5
_LUMA_STABILISER = (0.01 * 255) ** 2
_CONTRAST_STABILISER = (0.03 * 255) ** 2


def psnr(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio in dB of two ``(H, W, 3)`` uint8 pictures; infinite when they are equal."""
    _require_same_shape(picture, reference)
    error = float(((picture.astype(np.float64) - reference) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ssim(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Structural similarity, at most 1, of two ``(H, W, 3)`` uint8 pictures; the mean over places and channels.

    A Gaussian window of 11 x 11 pixels (sigma 1.5), only where it lies inside the picture.

    Source: Wang et al., Image Quality Assessment, IEEE TIP 13(4), 2004, equation 13.
    """
    _require_same_shape(picture, reference)
    if min(picture.shape[:2]) < _WINDOW:
        raise ShapeError(f"a picture of shape {picture.shape} is smaller than SSIM's window of {_WINDOW} pixels")
    x, y = picture.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x, variance_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luma = (2 * mean_x * mean_y + _LUMA_STABILISER) / (mean_x**2 + mean_y**2 + _LUMA_STABILISER)
    structure = (2 * covariance + _CONTRAST_STABILISER) / (variance_x + variance_y + _CONTRAST_STABILISER)
    return float((luma * structure).mean())


def _windowed(values: Floats) -> Floats:
    """The Gaussian mean around each place, ``(H - 10, W - 10, C)``; the window is a product of two lines."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    line = np.exp(-(offsets**2) / (2 * _WINDOW_SIGMA**2))
    line /= line.sum()
    down = sliding_window_view(values, _WINDOW, axis=0) @ line  # (H - 10, W, C)
    across: Floats = sliding_window_view(down, _WINDOW, axis=1) @ line  # (H - 10, W - 10, C)
    return across


def _require_same_shape(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> None:
    if picture.shape != reference.shape:
        raise ShapeError(f"pictures of shapes {picture.shape} and {reference.shape} cannot be compared; resize one")
