"""The feed-forward layer that also looks at its neighbours: GLU, depth-wise 3x3 between two linear maps."""

from __future__ import annotations

from torch import Tensor, nn

from sanakit.kernels.mix_ffn import gated_depthwise
from sanakit.layers.linear import Linear


class MixFFN(nn.Module):
    """Mix-FFN over the tokens of a picture (SANA, arXiv:2410.10629, section 2.2), without residual or norm.

    Args:
        hidden_size: channels of a token, in and out.
        inner_size: channels behind the gate; the depth-wise convolution has twice as many.
    """

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__()
        self.expand = Linear(hidden_size, 2 * inner_size)
        self.depthwise = nn.Conv2d(2 * inner_size, 2 * inner_size, 3, padding=1, groups=2 * inner_size)
        self.project = Linear(inner_size, hidden_size, bias=False)

    def forward(self, x: Tensor, *, height: int, width: int) -> Tensor:
        """``(B, N, C)`` to ``(B, N, C)``, ``N = height * width`` in row-major order."""
        assert self.depthwise.bias is not None
        inner = gated_depthwise(self.expand(x), self.depthwise.weight, self.depthwise.bias, height=height, width=width)
        return self.project(inner)


class TemporalMixFFN(MixFFN):
    """Mix-FFN over the tokens of a clip: each frame by itself, then the frames before and after each (SANA-Video,
    arXiv:2509.24695). The convolution over time begins at zero, where frames do not see each other."""

    def __init__(self, hidden_size: int, inner_size: int) -> None:
        super().__init__(hidden_size, inner_size)
        self.temporal = nn.Conv2d(hidden_size, hidden_size, (3, 1), padding=(1, 0), bias=False)
        nn.init.zeros_(self.temporal.weight)

    def forward(self, x: Tensor, *, height: int, width: int) -> Tensor:
        """``(B, N, C)`` to ``(B, N, C)``, ``N`` = frames * ``height * width``, frame after frame."""
        assert self.depthwise.bias is not None
        frames = self.expand(x).unflatten(1, (-1, height * width)).flatten(0, 1)  # (B * T, H * W, 2M)
        inner = gated_depthwise(frames, self.depthwise.weight, self.depthwise.bias, height=height, width=width)
        y = self.project(inner.reshape(len(x), x.shape[1], -1))  # (B, N, C)
        clip = y.unflatten(1, (-1, height * width)).permute(0, 3, 1, 2)  # (B, C, T, H * W), channels last
        return y + self.temporal(clip).permute(0, 2, 3, 1).flatten(1, 2)
