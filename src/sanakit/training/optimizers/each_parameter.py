"""An optimiser that treats its parameters one by one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer


class EachParameter(Optimizer):
    """Steps every parameter that has a gradient; what a step is, a subclass says."""

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.step_group([p for p in group["params"] if p.grad is not None], group)
        return loss

    def step_group(self, parameters: Sequence[Tensor], group: Mapping[str, Any]) -> None:
        """One step of all parameters of a group that have a gradient."""
        for p in parameters:
            self.step_parameter(p, group)

    @abstractmethod
    def step_parameter(self, p: Tensor, group: Mapping[str, Any]) -> None:
        """One step of ``p`` with the settings of its group, in place."""
