"""The same in one pass over a token, for GPUs; statistics and modulation in float32, rounded once."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.kernels.modulated_norm.reference import EPS
from sanakit.kernels.triton_language import tl, triton


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """As the reference; shift and scale may be views whose channels lie next to each other."""
    tokens, y = x.flatten(0, 1), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _norm[len(tokens),](
        tokens, scale, shift, y, tokens.stride(0), x.shape[1], scale.stride(0), shift.stride(0), x.shape[2], EPS,
        CENTRED=True, SHIFTED=True, WIDTH=triton.next_power_of_2(x.shape[2]),
    )  # fmt: skip
    return y


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """As the reference; tokens may lie apart, as queries and keys of one product do."""
    tokens, y = x.reshape(-1, x.shape[-1]), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _norm[len(tokens),](
        tokens, weight, weight, y, tokens.stride(0), len(tokens), 0, 0, x.shape[-1], eps,
        CENTRED=False, SHIFTED=False, WIDTH=triton.next_power_of_2(x.shape[-1]),
    )  # fmt: skip
    return y


@triton.jit
def _norm(
    x, scale, shift, y, x_token, tokens, scale_row, shift_row, channels, eps,
    CENTRED: tl.constexpr, SHIFTED: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One token; scale and shift are those of its row of the batch, ``tokens`` of which lie in one."""
    token = tl.program_id(0).to(tl.int64)
    row, c = token // tokens, tl.arange(0, WIDTH)
    seen = c < channels
    v = tl.load(x + token * x_token + c, mask=seen, other=0.0).to(tl.float32)
    if CENTRED:
        v = tl.where(seen, v - tl.sum(v, axis=0) / channels, 0.0)
    v = v * tl.rsqrt(tl.sum(v * v, axis=0) / channels + eps)
    factor = tl.load(scale + row * scale_row + c, mask=seen, other=0.0).to(tl.float32)
    if SHIFTED:
        v = v * (1.0 + factor) + tl.load(shift + row * shift_row + c, mask=seen, other=0.0).to(tl.float32)
    else:
        v = v * factor
    tl.store(y + token * channels + c, v, mask=seen)
