"""A weight to the tensors that stand for it in a scheme, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, assert_never

import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.kernels.int8_linear.reference import LARGEST
from sanakit.quantization.schemes import BFloat16, Int8, Int8Weight, Scheme


class Kept(NamedTuple):
    """Shape and dtype of a stored tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def stored(scheme: Scheme, shape: tuple[int, ...]) -> dict[str, Kept]:
    """What stands for a weight ``(N, ...)``, by the last name of each tensor."""
    match scheme:
        case BFloat16():
            return {"weight": Kept(shape, torch.bfloat16)}
        case Int8Weight() | Int8():
            return {"weight": Kept(shape, torch.int8), "weight_scale": Kept(shape[:1], torch.float32)}
        case _:
            assert_never(scheme)


def encode(weight: Tensor, scheme: Scheme) -> dict[str, Tensor]:
    """Raises ConfigError for weights that are not numbers."""
    if not weight.isfinite().all():
        raise ConfigError("its weights hold values that are not numbers, of which no scheme makes any")
    match scheme:
        case BFloat16():
            return {"weight": weight.to(torch.bfloat16)}
        case Int8Weight() | Int8():
            return _rows_to_int8(weight.float())
        case _:
            assert_never(scheme)


def decode(tensors: Mapping[str, Tensor], scheme: Scheme, shape: tuple[int, ...]) -> Tensor:
    """The weight that they stand for, float32 or, of bf16, as it is."""
    match scheme:
        case BFloat16():
            return tensors["weight"]
        case Int8Weight() | Int8():
            scale = tensors["weight_scale"].reshape(-1, *(1 for _ in shape[1:]))
            return tensors["weight"] * scale
        case _:
            assert_never(scheme)


def num_bytes(scheme: Scheme, shape: tuple[int, ...]) -> int:
    """Of a stored weight."""
    return sum(math.prod(kept.shape) * kept.dtype.itemsize for kept in stored(scheme, shape).values())


def _rows_to_int8(weight: Tensor) -> dict[str, Tensor]:
    """A row of zeros has the scale 0 and comes back as zeros."""
    rows = weight.flatten(1)
    scale = rows.abs().amax(dim=1) / LARGEST  # (N,)
    whole = (rows / scale.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round().clamp(-LARGEST, LARGEST)
    return {"weight": whole.to(torch.int8).view(weight.shape), "weight_scale": scale}
