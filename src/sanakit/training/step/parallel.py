"""One process, copies on several (ddp), or one model in shards (fsdp): the same step in all three."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.attention import SDPBackend
from torch.utils.checkpoint import checkpoint

from sanakit.common.ranks import Ranks, broadcast_parameters, sum_gradients
from sanakit.kernels.attention import attention_kernels
from sanakit.models.network import Network, units_of
from sanakit.training.run.run_config import PrecisionChoice
from sanakit.training.run.session import Session

logger = logging.getLogger(__name__)


def spread(model: nn.Module, session: Session) -> None:
    """Give every process the first one's weights, and in a sharded run keep only a part of them on each (FSDP2).

    In place, and nothing is done to a model that is sharded already. Parameters and optimiser state stay float32;
    shards travel in bfloat16 with ``precision="bf16"``, their gradients never below float32.
    """
    if isinstance(model, FSDPModule) or any(isinstance(p, DTensor) for p in model.parameters()):
        return
    broadcast_parameters(model, session.ranks)
    if not session.sharded or session.ranks.world == 1 or next(model.parameters(), None) is None:
        return
    precision = session.config.precision
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if precision == "bf16" else None,
        reduce_dtype=torch.float32 if precision == "bf16" else None,  # else as they are, which may be wider
        cast_forward_inputs=False,  # a time of 999 would become 1000; autocast says what is computed in bfloat16
    )
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # shards are cut from rows
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (session.ranks.world,))
    chosen = {*model.units, *model.apart} if isinstance(model, Network) else set()
    if type(model).forward is not nn.Module.forward:  # else it runs as its parts, each by itself
        chosen.add(model)
    for module in reversed(list(model.modules())):  # what lies inside first
        if module in chosen and next(module.parameters(), None) is not None:
            fully_shard(module, mesh=mesh, mp_policy=policy)
    for method in model.outside_forward if isinstance(model, Network) else ():
        register_fsdp_forward_method(model, method)
    logger.info("%s: weights in %d shards", type(model).__name__, session.ranks.world)


def gather_gradients(model: nn.Module, *, ranks: Ranks) -> None:
    """Sum the gradients over the processes; those of shards were summed on the way back."""
    sum_gradients([p for p in model.parameters() if not isinstance(p, DTensor)], ranks)


def loss_scale(model: nn.Module, ranks: Ranks) -> float:
    """What the loss is multiplied with so that its gradient is a sum over the processes: shards take the mean."""
    return float(ranks.world) if any(isinstance(p, DTensor) for p in model.parameters()) else 1.0


def clip_gradients(model: nn.Module, limit: float) -> float:
    """Scale the gradients of the trained parameters to a norm of ``limit`` at most, and give the norm before that."""
    norm = nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], limit)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor in one piece, on every process (all of them must ask); another one as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in one piece on the CPU, one after the other; all processes must ask."""
    return {name: whole(tensor.detach()).cpu() for name, tensor in state.items()}


def checkpoint_activations(model: nn.Module) -> None:
    """Keep of every block its input alone, and compute the rest again in the backward pass.

    Same numbers, about a third more work, and the memory of one block instead of all of them. A block with a batch norm
    that learns is left as it is: its statistics would move twice.
    """
    for unit in units_of(model):
        moving = any(isinstance(part, nn.BatchNorm2d) and part.training for part in unit.modules())
        if not moving and "forward" not in vars(unit):
            plain = unit.forward
            unit.forward = functools.partial(checkpoint, plain, use_reentrant=False, preserve_rng_state=False)


def compile_blocks(model: nn.Module) -> None:
    """Fuse what lies between the matrix products of each block; every new shape is compiled anew."""
    for unit in units_of(model):
        unit.compile(dynamic=False)


@contextmanager
def attention_for(device: str) -> Iterator[None]:
    """The attention kernels of a training step, forward and backward.

    On the CPU the fused backward pass takes a sixth of a step at 64 x 20 tokens, the plain one next to nothing.
    """
    on_cpu = torch.device(device).type == "cpu"
    fused = [] if on_cpu else [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    with attention_kernels([*fused, SDPBackend.MATH]):
        yield


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention as matrix products alone, for objectives that differentiate forward: the fused kernels have no rule."""
    with attention_kernels([SDPBackend.MATH]):
        yield


def autocast(device: str, precision: PrecisionChoice) -> torch.autocast:
    """Matrix products in bfloat16 over float32 weights, if the precision says so."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")
