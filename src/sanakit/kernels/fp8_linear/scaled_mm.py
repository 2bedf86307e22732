"""The same by the product of 8-bit floats that some GPUs have, with both scales applied as it is written."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels import on_gpu
from sanakit.kernels.fp8_linear.reference import round_to_fp8

MIN_CAPABILITY = (8, 9)  # Ada and Hopper
MULTIPLE = 16  # of both sides of a matrix


def fits(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the GPU has such products and takes these: bfloat16 without gradients, sides that are multiples of 16."""
    if torch.version.hip is not None:  # AMD's of these floats are others
        return False
    if x.dtype != torch.bfloat16 or any(side % MULTIPLE for side in weight.shape):
        return False
    if not on_gpu.takes_plain(x, *([] if bias is None else [bias])):
        return False
    return torch.cuda.get_device_capability(x.device) >= MIN_CAPABILITY


def fp8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """As the reference, of what fits; sums are kept in what the tensor cores have, some 14 bits, and rounded once."""
    rounded, scale = round_to_fp8(x.reshape(-1, x.shape[-1]))
    y = torch._scaled_mm(
        rounded,
        weight.mT,  # whose columns lie together, as it asks for
        scale_a=scale,
        scale_b=weight_scale[None],
        bias=bias,
        out_dtype=x.dtype,
        use_fast_accum=True,
    )
    return y.unflatten(0, x.shape[:-1])
