"""A parameter that may be spread over processes, as FSDP2 does it: cut along its first dimension, or copied.

An optimiser computes with this process's rows and asks for sums over all rows. What it keeps is wrapped like the
parameter, so that a checkpoint knows which part of the whole each process holds.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from sanakit.common.errors import ConfigError


class Rows:
    """How a parameter's rows lie on the processes; of a plain tensor all of them are here."""

    def __init__(self, parameter: Tensor) -> None:
        self.mesh: DeviceMesh | None = None
        self.placements: tuple[Placement, ...] = ()
        if isinstance(parameter, DTensor):
            self.mesh, self.placements = parameter.device_mesh, parameter.placements
            if any(placement not in (Shard(0), Replicate()) for placement in self.placements):
                raise ConfigError(
                    f"a parameter {tuple(parameter.shape)} lies as {self.placements}; sanakit's optimisers train "
                    f"parameters that are whole or cut along their first dimension"
                )

    def total(self, part: Tensor) -> Tensor:
        """The sum over the processes of what each computed from its own rows, in place."""
        for dim, placement in enumerate(self.placements):
            if isinstance(placement, Shard):
                assert self.mesh is not None
                dist.all_reduce(part, group=self.mesh.get_group(dim))
        return part

    def cut(self, part: Tensor, num_rows: int) -> Tensor:
        """``part`` with a row for each of this process's rows, as a piece of a tensor of ``num_rows``."""
        if self.mesh is None:
            return part
        whole = torch.empty(num_rows, *part.shape[1:], device="meta")
        return DTensor.from_local(
            part, self.mesh, self.placements, run_check=False, shape=whole.shape, stride=whole.stride()
        )

    def copied(self, whole: Tensor) -> Tensor:
        """``whole``, which every process has alike."""
        if self.mesh is None:
            return whole
        return DTensor.from_local(whole, self.mesh, [Replicate()] * self.mesh.ndim, run_check=False)

    def whole(self, part: Tensor, num_rows: int) -> Tensor:
        """The rows of all processes, on every one of them."""
        piece = self.cut(part, num_rows)
        return piece.full_tensor() if isinstance(piece, DTensor) else piece

    def mine(self, whole: Tensor) -> Tensor:
        """This process's rows of what every process has alike."""
        copied = self.copied(whole)
        return copied.redistribute(placements=self.placements).to_local() if isinstance(copied, DTensor) else copied


def here(tensor: Tensor) -> Tensor:
    """This process's rows of a tensor, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gradient(parameter: Tensor) -> Tensor:
    """This process's rows of the gradient of a parameter that has one."""
    assert parameter.grad is not None, "parameters without a gradient are passed over"
    return here(parameter.grad)
