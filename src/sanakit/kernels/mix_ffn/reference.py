"""The middle of a Mix-FFN: SiLU, depth-wise 3x3, gate."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError


def gated_depthwise(tokens: Tensor, weight: Tensor, bias: Tensor, *, height: int, width: int) -> Tensor:
    """``value * SiLU(gate)`` where both halves come from a depth-wise 3x3 over ``SiLU(tokens)``.

    The tokens are a picture whose channels lie last in memory, which is the layout that the convolution likes
    best: the view to ``(B, C, H, W)`` and back copies nothing.

    Args:
        tokens: ``(B, N, 2M)`` with ``N = height * width`` in row-major order.
        weight, bias: ``(2M, 1, 3, 3)`` and ``(2M,)``.
        height, width: of the grid of tokens.

    Returns:
        ``(B, N, M)``.

    Raises:
        ShapeError: the grid does not hold the tokens.

    Source: SANA, arXiv:2410.10629, section 2.2 (Mix-FFN).
    """
    batch, num_tokens, channels = tokens.shape
    if num_tokens != height * width:
        raise ShapeError(f"{num_tokens} tokens do not fill a grid of {height}x{width}")
    picture = F.silu(tokens).view(batch, height, width, channels).permute(0, 3, 1, 2)  # (B, 2M, H, W), channels last
    picture = F.conv2d(picture, weight, bias, padding=1, groups=channels)
    value, gate = picture.permute(0, 2, 3, 1).reshape(batch, num_tokens, channels).chunk(2, dim=-1)
    return value * F.silu(gate)  # (B, N, M)
