"""The running average of the weights, which is what gets shipped."""

from __future__ import annotations

import torch
from torch import nn

from sanakit.training.optimizers.shards import here


class Ema:
    """Exponential moving average of a module's parameters in float32, warmed up so that early steps do not linger.

    Of a sharded module each process averages its own shard.

    Args:
        module: the module to follow.
        decay: of the average per step; the first steps use ``(1 + step) / (10 + step)`` if that is smaller.
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay, self.step = decay, 0
        self.shadow = {name: p.detach().clone().float() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        self.step += 1
        live = {name: here(p.detach()).float() for name, p in module.named_parameters()}
        names = list(self.shadow)
        torch._foreach_lerp_([here(self.shadow[n]) for n in names], [live[n] for n in names], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the average into ``module``."""
        for name, p in module.named_parameters():
            here(p.detach()).copy_(here(self.shadow[name]))
