"""The heads of the judge in adversarial distillation: small networks on the features of a frozen transformer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.devices import widened
from sanakit.training.objectives.ladd import AdversarialConfig

_FIRST_ITERATIONS = 15  # of the power method, before the first step


class SpectralConv(nn.Module):
    """A circular convolution of tokens whose matrix has a greatest singular value of 1.

    That value comes from the power method, one iteration for each step in which the weights change: not for each call,
    so that micro-batches more, processes more or a step that is made again move nothing.
    Source: arXiv:1802.05957.
    """

    left: Tensor
    right: Tensor

    def __init__(self, channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        conv = nn.Conv1d(channels, out_channels, kernel)
        assert conv.bias is not None
        self.weight, self.bias = conv.weight, conv.bias
        self.register_buffer("left", F.normalize(torch.randn(out_channels), dim=0))
        self.register_buffer("right", F.normalize(torch.randn(channels * kernel), dim=0))
        for _ in range(_FIRST_ITERATIONS):
            self.iterate()

    @torch.no_grad()
    def iterate(self) -> None:
        matrix = widened(self.weight.detach()).flatten(1)
        self.left.copy_(F.normalize(matrix @ self.right, dim=0, eps=1e-12))
        self.right.copy_(F.normalize(matrix.mT @ self.left, dim=0, eps=1e-12))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, N)`` to ``(B, C', N)``."""
        with torch.autocast(x.device.type, enabled=False):
            weight = widened(self.weight)
            weight = weight / (self.left @ weight.flatten(1) @ self.right)
        reach = weight.shape[-1] // 2
        if reach:
            around = torch.arange(-reach, x.shape[-1] + reach, device=x.device) % x.shape[-1]
            x = x[..., around]
        return F.conv1d(x, weight, self.bias)


class LocalNorm(nn.Module):
    """A batch norm over the tokens of a few samples, whatever the size of the batch; nothing of it is remembered."""

    def __init__(self, channels: int, virtual_batch: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.virtual_batch, self.eps = virtual_batch, eps

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, N)`` to the same, in float32 or wider."""
        groups = widened(x).tensor_split(math.ceil(len(x) / self.virtual_batch))
        normed = []
        for group in groups:
            variance, mean = torch.var_mean(group, dim=(0, 2), correction=0, keepdim=True)
            normed.append((group - mean) * torch.rsqrt(variance + self.eps))
        return torch.cat(normed) * self.weight[:, None] + self.bias[:, None]


class Head(nn.Module):
    """Features of every token to a judgement of it.

    Source: StyleGAN-T, arXiv:2301.09515, without its condition.
    """

    def __init__(self, channels: int, config: AdversarialConfig) -> None:
        super().__init__()
        self.enter, self.norm_1 = SpectralConv(channels, channels, 1), LocalNorm(channels, config.virtual_batch)
        self.mix, self.norm_2 = (
            SpectralConv(channels, channels, config.kernel),
            LocalNorm(channels, config.virtual_batch),
        )
        self.judge = SpectralConv(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, N, C)`` to ``(B, N)``."""
        x = F.leaky_relu(self.norm_1(self.enter(features.mT)), 0.2)  # (B, C, N)
        x = (x + F.leaky_relu(self.norm_2(self.mix(x)), 0.2)) / math.sqrt(2)
        return self.judge(x).squeeze(1)


class Heads(nn.Module):
    """One head for each block that is listened to.

    Attributes:
        iterated: the step for which the power method went on last.
    """

    iterated: Tensor

    def __init__(self, channels: int, num_heads: int, config: AdversarialConfig) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(channels, config) for _ in range(num_heads))
        self.register_buffer("iterated", torch.tensor(-1))

    def forward(self, features: Sequence[Tensor], step: int | None = None) -> Tensor:
        """The features ``(B, N, C)`` of each block to judgements ``(B, heads * N)``.

        Args:
            step: in which the heads learn, by number; None: they only judge.
        """
        if step is not None and step != int(self.iterated):
            for module in self.modules():
                if isinstance(module, SpectralConv):
                    module.iterate()
            self.iterated.fill_(step)
        return torch.cat([head(each) for head, each in zip(self.heads, features, strict=True)], dim=1)
