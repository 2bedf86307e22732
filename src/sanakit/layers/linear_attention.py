"""Self-attention in linear time: SANA's, and DC-AE's with its depth-wise scales."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from sanakit.kernels.linear_attention import linear_attention, turned_linear_attention
from sanakit.layers.linear import Linear
from sanakit.layers.norms import RMSNorm

MULTISCALE_EPS = 1e-15
"""Added to the normaliser of DC-AE's."""


class LinearAttention(nn.Module):
    """ReLU linear attention over tokens (SANA, arXiv:2410.10629, section 2.2).

    Args:
        hidden_size: channels of a token, a multiple of ``head_dim``.
        head_dim: channels of a head.
        qk_norm: RMS norm of queries and keys over all heads together (SANA-1.5, arXiv:2501.18427).
        eps: added to the normaliser.
        qk_norm_eps: epsilon of those norms.
    """

    def __init__(self, hidden_size: int, *, head_dim: int, qk_norm: bool, eps: float, qk_norm_eps: float) -> None:
        super().__init__()
        self.head_dim, self.eps = head_dim, eps
        self.qkv = Linear(hidden_size, 3 * hidden_size, bias=False)
        self.norm_q = RMSNorm(hidden_size, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.norm_k = RMSNorm(hidden_size, eps=qk_norm_eps) if qk_norm else nn.Identity()
        self.out = Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, *, turns: Tensor | None = None, identity_rows: Tensor | None = None) -> Tensor:
        """``(B, N, C)`` to ``(B, N, C)``.

        Args:
            x: tokens.
            turns: ``(N, D / 2)`` complex, their rotary positions, which count in the numerator alone (SANA-Video,
                arXiv:2509.24695); None for none.
            identity_rows: ``(B,)`` bool; in these rows every token attends to itself alone, which is the
                perturbation of perturbed-attention guidance.
        """
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # (B, N, C) each
        heads = map(self._heads, (self.norm_q(q), self.norm_k(k), v))
        attend = linear_attention if turns is None else partial(turned_linear_attention, turns=turns)
        mixed = attend(*heads, eps=self.eps)
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, N, C)
        if identity_rows is not None:
            mixed = torch.where(identity_rows[:, None, None], v, mixed)
        out = self.out(mixed)
        return out.clamp(-65504, 65504) if out.dtype == torch.float16 else out  # some float16 networks overflow here

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, heads, N, D)


class MultiscaleProjection(nn.Module):
    """A second set of queries, keys and values that has seen its neighbourhood: depth-wise, then per group."""

    def __init__(self, channels: int, *, kernel_size: int, head_dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(channels, channels, 1, groups=channels // head_dim, bias=False)

    def forward(self, qkv: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(qkv))


class MultiscaleLinearAttention(nn.Module):
    """Linear attention of DC-AE over the pixels of a picture, ``(B, C, H, W)``, without its residual.

    The ``3C`` channels are not three blocks of queries, keys and values: every group of ``3 * head_dim``
    channels holds one head's own three.

    Source: EfficientViT, arXiv:2205.14756; DC-AE, arXiv:2410.10733.
    """

    def __init__(self, channels: int, *, head_dim: int, scales: tuple[int, ...], norm: nn.Module) -> None:
        super().__init__()
        self.head_dim, self.scales = head_dim, scales
        self.qkv = Linear(channels, 3 * channels, bias=False)
        self.multiscale = nn.ModuleList(
            MultiscaleProjection(3 * channels, kernel_size=scale, head_dim=head_dim) for scale in scales
        )
        self.out = Linear(channels * (1 + len(scales)), channels, bias=False)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.merged(linear_attention(*self.heads(x), eps=MULTISCALE_EPS), x.shape[-2:])

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each ``(B, heads, N, D)``."""
        qkv = self.qkv(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # (B, 3C, H, W), channels last
        qkv = torch.cat([qkv, *(project(qkv) for project in self.multiscale)], dim=1)
        heads = qkv.flatten(2).unflatten(1, (-1, 3 * self.head_dim)).mT  # (B, heads, N, 3D)
        return heads.chunk(3, dim=-1)

    def merged(self, mixed: Tensor, size: Sequence[int]) -> Tensor:
        """What heads have seen, ``(B, heads, N, D)``, to ``(B, C, *size)``."""
        tokens = self.out(mixed.transpose(1, 2).flatten(2))  # (B, N, C)
        return self.norm(tokens.unflatten(1, size).permute(0, 3, 1, 2))
