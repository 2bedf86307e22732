"""What everyone may ask of a network without knowing its layers: dtype, device, and the units that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Base of the networks whose ``forward`` is written out in ``models``.

    A subclass keeps its config as ``config``, which is saved beside the weights, and names its ``units`` (by
    ``unit_kinds`` where they are all modules of some classes): sharding, recomputation, compilation and memory plans
    work on these.
    """

    unit_kinds: ClassVar[tuple[type[nn.Module], ...]] = ()
    apart_names: ClassVar[tuple[str, ...]] = ()
    outside_forward: ClassVar[tuple[str, ...]] = ()  # methods beside forward that run layers, which sharding must know

    @property
    def units(self) -> tuple[nn.Module, ...]:
        """The blocks in the order in which they run."""
        return tuple(module for module in self.modules() if isinstance(module, self.unit_kinds))

    @property
    def apart(self) -> tuple[nn.Module, ...]:
        """Modules that are called from outside of the unit or network that holds them; sharded by themselves."""
        return tuple(getattr(self, name) for name in self.apart_names)

    @property
    def compute_dtype(self) -> torch.dtype:
        """What activations have: the dtype of biases and norms, which stay as they are when matrices are quantized."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.ndim == 1)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def units_of(model: nn.Module) -> tuple[nn.Module, ...]:
    """The units of every network in ``model``, which may hold several or be none."""
    return tuple(unit for module in model.modules() if isinstance(module, Network) for unit in module.units)


def state_bytes(state: Mapping[str, Tensor]) -> int:
    """Of the parameters and buffers of a network, as its ``state_dict`` names them."""
    return sum(tensor.nbytes for tensor in state.values())
