"""The running average of the weights, which is what gets shipped."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a module's parameters, warmed up so that early steps do not linger.

    Args:
        module: the module to follow.
        decay: of the average per step; the first steps use ``(1 + step) / (10 + step)`` if that is smaller.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.step = decay, 0
        self.shadow = {name: p.detach().clone().float() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        self.step += 1
        live = {name: p.detach().float() for name, p in module.named_parameters()}
        names = list(self.shadow)
        torch._foreach_lerp_([self.shadow[n] for n in names], [live[n] for n in names], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the average into ``module``."""
        for name, p in module.named_parameters():
            p.copy_(self.shadow[name])

    def state_dict(self) -> dict[str, Tensor | int]:
        return {"step": self.step, **self.shadow}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        self.step = int(state["step"])
        for name in self.shadow:
            self.shadow[name].copy_(torch.as_tensor(state[name]))
