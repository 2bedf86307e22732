"""Matrix products of whole numbers from -127 to 127, by the instructions that the machine has for them."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from sanakit.kernels.int8_linear import native

logger = logging.getLogger(__name__)

Products = Literal["int8 dot products", "int16 products, added in pairs", "float32 products of whole numbers"]

_MIN_ROWS = 32  # cuBLAS multiplies no fewer than 17 rows of int8


@cache
def products_on(device_type: str) -> Products:
    """Which of them a device gets, told to the log once.

    The native library has the first two for layers of many tokens (VNNI; AVX2). What is left to torch: it hands
    ``_int_mm`` to oneDNN where the CPU has dot products of bytes (VNNI, AMX), and to cuBLAS on CUDA. On AVX2 it runs a
    plain loop, 28 times slower than float32; oneDNN's ``qlinear`` is 1.5 times faster there and wrong, because pairs of
    products are summed in 16 bits and saturate. So without dot products it multiplies the same whole numbers in
    float32, which is exact as long as sums stay below 2**24 (1040 channels of the largest values) and costs what
    float32 costs.
    """
    dot_products = device_type == "cuda" or (device_type == "cpu" and torch.cpu._is_vnni_supported())
    chosen: Products = "int8 dot products" if dot_products else "float32 products of whole numbers"
    if not dot_products and device_type == "cpu" and native.multiplies_bytes():
        chosen = "int16 products, added in pairs"
    logger.info("int8 layers on %s: %s", device_type, chosen)
    return chosen


def whole_number_products(x: Tensor, weight: Tensor, products: Products) -> Tensor:
    """``x @ weight.T`` of whole numbers: ``(rows, K)`` float32 and ``(N, K)`` int8 to ``(rows, N)`` float32."""
    if products == "int8 dot products":
        return _dot_products(x.to(torch.int8), weight).float()
    return x @ weight.to(x.dtype).mT


def _dot_products(x: Tensor, weight: Tensor) -> Tensor:
    """int32; on CUDA rows and channels are filled up to what cuBLAS takes."""
    if x.device.type != "cuda":
        return torch._int_mm(x, weight.mT)
    rows, columns, channels = x.shape[0], weight.shape[0], x.shape[1]
    x = _padded(x, max(rows, _MIN_ROWS), -channels % 8 + channels)
    weight = _padded(weight, -columns % 8 + columns, x.shape[1])
    return torch._int_mm(x, weight.mT)[:rows, :columns]


def _padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    if matrix.shape == (rows, columns):
        return matrix
    return torch.nn.functional.pad(matrix, (0, columns - matrix.shape[1], 0, rows - matrix.shape[0]))
