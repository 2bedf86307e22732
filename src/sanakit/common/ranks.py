"""The few lines that make one process or several under ``torchrun`` the same program."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from sanakit.common.errors import SanakitError

_SIGNS_OF_LOSS = ("closed by peer", "reset by peer", "Broken pipe", "ncclRemoteError")  # of gloo and NCCL


class LostProcessError(SanakitError):
    """Another process of the run cannot be reached."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0


ALONE = Ranks()


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started, or be alone; ``cuda`` is then each process's own accelerator.

    Raises:
        LostProcessError: one of the others is gone.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl")  # a recipe may also train on the CPUs of such a machine
    else:
        dist.init_process_group("gloo")
    try:
        yield Ranks(dist.get_rank(), world)
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            raise
        raise LostProcessError(
            "another process of the run ended, or the connection to it broke; "
            "the same command continues from the last checkpoint"
        ) from error
    finally:
        dist.destroy_process_group()


def broadcast_parameters(module: nn.Module, ranks: Ranks) -> None:
    """Give every process the first one's weights."""
    if ranks.world > 1:
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


def sum_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Replace each gradient by its sum over the processes, in one message; each holds its share of the loss."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if ranks.world == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def sum_over_ranks(values: Sequence[float], ranks: Ranks) -> list[float]:
    """Each value's sum over the processes, in float64."""
    if ranks.world == 1:
        return list(values)
    total = torch.tensor(list(values), dtype=torch.float64)
    dist.all_reduce(total)
    return total.tolist()


def any_rank(flag: bool, ranks: Ranks) -> bool:
    """Whether it is true on one of the processes at least."""
    return sum_over_ranks([float(flag)], ranks)[0] > 0


def wait_for_all(ranks: Ranks) -> None:
    """Return once every process is here."""
    any_rank(False, ranks)


def agree(value: float, ranks: Ranks) -> float:
    """The first process's value, everywhere: clocks differ, decisions must not."""
    if ranks.world == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(shared, 0)
    return float(shared)
