"""Muon: steps whose singular values are all about one (Jordan et al., 2024).

The arithmetic is that of ``torch.optim.Muon``, to the bit where bfloat16 is quick, and else in float32. Torch's own
cannot step a matrix that is spread over processes (its in-place sum has no placement); this one gathers it first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sanakit.common.devices import has_quick_bfloat16
from sanakit.common.errors import ConfigError
from sanakit.common.ranks import ALONE, Ranks
from sanakit.kernels.newton_schulz import newton_schulz
from sanakit.training.optimizers.config import MuonConfig
from sanakit.training.optimizers.each_parameter import EachParameter
from sanakit.training.optimizers.shards import Rows, gradient, here


class Muon(EachParameter):
    """For matrices only. Processes share the work: each orthogonalises whole matrices for all, in turn.

    Args:
        params: with gradients that are the same on every process, or shards of such.
        config: its momentum and weight decay.
        learning_rate: of every step until it is changed.
        ranks: the processes that step the same matrices.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], config: MuonConfig, *, learning_rate: float, ranks: Ranks = ALONE
    ) -> None:
        matrices = list(params)
        for p in matrices:
            if p.ndim != 2:
                raise ConfigError(f"Muon orthogonalises matrices, not {tuple(p.shape)}; give that to AdamW")
        self.ranks = ranks
        super().__init__(
            matrices, {"lr": learning_rate, "momentum": config.momentum, "weight_decay": config.weight_decay}
        )

    def step_group(self, parameters: Sequence[Tensor], group: Mapping[str, Any]) -> None:
        """As many matrices at a time as there are processes, those of one shape together."""
        ordered = sorted(parameters, key=lambda p: p.shape)
        for start in range(0, len(ordered), self.ranks.world):
            together = ordered[start : start + self.ranks.world]
            ahead = [self._ahead(p, group) for p in together]
            for p, u in zip(together, orthogonalize_shared(ahead, self.ranks), strict=True):
                size = 0.2 * math.sqrt(max(p.shape))  # so that its root mean square is AdamW's (arXiv:2502.16982)
                weights = here(p).mul_(1 - group["lr"] * group["weight_decay"])
                weights.add_(Rows(p).mine(u), alpha=-group["lr"] * size)

    def step_parameter(self, p: Tensor, group: Mapping[str, Any]) -> None:
        self.step_group([p], group)

    def _ahead(self, p: Tensor, group: Mapping[str, Any]) -> Tensor:
        """The whole gradient, where Nesterov's momentum will have it."""
        if not self.state[p]:
            self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        g, mean = gradient(p), here(self.state[p]["momentum_buffer"])
        mean.lerp_(g, 1 - group["momentum"])
        return Rows(p).whole(rounded(g.lerp(mean, group["momentum"])), p.shape[0])


def orthogonalize_shared(matrices: Sequence[Tensor], ranks: Ranks) -> list[Tensor]:
    """Those that every process has alike, the n-th by the n-th process, for all."""
    if ranks.world == 1:
        return [orthogonalize(matrix) for matrix in matrices]
    found = [
        orthogonalize(matrix).contiguous() if number == ranks.rank else torch.empty_like(rounded(matrix))
        for number, matrix in enumerate(matrices)
    ]
    for source, matrix in enumerate(found):
        dist.broadcast(matrix, src=source)
    return found


def rounded(matrix: Tensor) -> Tensor:
    """To the dtype that is multiplied and sent: bfloat16 where that is quick."""
    return matrix.bfloat16() if has_quick_bfloat16(matrix.device) else matrix.float()


def orthogonalize(matrix: Tensor) -> Tensor:
    """``U V^T`` of ``matrix = U S V^T``, roughly; in bfloat16 where that is quick."""
    return newton_schulz(rounded(matrix))
