"""Weights that are not numbers are found as they are loaded, not when a picture has turned out black."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sanakit.common.errors import CheckpointError


def check_finite(
    tensors: Iterable[tuple[str, Tensor]], where: Path, stored: Mapping[str, Tensor] | None = None
) -> None:
    """Raises ``CheckpointError`` at the first tensor with a value that is no number.

    Args:
        tensors: as they will be used.
        stored: as their file has them, where that is another dtype, whose range may be wider.
    """
    for name, tensor in tensors:
        if is_finite(tensor):
            continue
        if stored is not None and is_finite(stored[name]):
            dtype = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{name} in {where} has values beyond the range of {dtype}; use another dtype")
        raise CheckpointError(
            f"{where} holds values that are not numbers, first in {name}; the file is damaged or its training failed, "
            f"so fetch it again or take an earlier one"
        )


def is_finite(tensor: Tensor) -> bool:
    """Whether all of a tensor are numbers: one pass, without memory of its own."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    lowest, highest = torch.aminmax(tensor if tensor.element_size() > 1 else tensor.float())
    return bool(lowest.isfinite() and highest.isfinite())
