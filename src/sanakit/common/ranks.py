"""The few lines that make one process or several under ``torchrun`` the same program."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from sanakit.common.errors import RequestError, SanakitError

logger = logging.getLogger(__name__)

PATIENCE = 300.0  # seconds that the other processes are waited for
_SOON, _CONNECTING = 2.0, 20.0
_ALONE = "unset WORLD_SIZE and RANK to train in one process"
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
def process_group(*, patience: float = PATIENCE) -> Iterator[Ranks]:
    """Join the processes that a launcher started, or be alone; ``cuda`` is then each process's own accelerator.

    Args:
        patience: seconds that the others are waited for. ``torchrun`` waits by itself.

    Raises:
        RequestError: the launcher's variables do not fit together, or nobody can meet where they say.
        LostProcessError: one of the others did not come, or is gone.
    """
    ranks = _launched()
    if ranks.world == 1:
        yield ranks
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"  # a recipe may also train on the CPUs of such a machine
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        dist.init_process_group(backend)
    else:
        store = dist.PrefixStore("group", _meet(ranks, patience))  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.world)
    try:
        yield ranks
    except RuntimeError as error:
        if not any(sign in str(error) for sign in _SIGNS_OF_LOSS):
            raise
        raise LostProcessError(
            "another process of the run ended, or the connection to it broke; "
            "the same command continues from the last checkpoint"
        ) from error
    finally:
        dist.destroy_process_group()


def _launched() -> Ranks:
    """What a launcher's variables say; alone without them.

    Raises:
        RequestError: some are missing, or say what cannot be.
    """
    world = _whole_number("WORLD_SIZE", "1")
    if world == 1:
        return ALONE
    names = ("RANK", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise RequestError(
            f"WORLD_SIZE={world} says that {world} processes share the work, and {', '.join(missing)} not set; "
            f"start them with torchrun, or {_ALONE}"
        )
    rank = _whole_number("RANK", "0")
    if not 0 <= rank < world:
        raise RequestError(f"RANK={rank} is none of the {world} processes of WORLD_SIZE, which begin with 0; {_ALONE}")
    return Ranks(rank, world)


def _whole_number(name: str, default: str) -> int:
    text = os.environ.get(name) or default
    if not text.isdecimal() or (name == "WORLD_SIZE" and int(text) < 1):
        raise RequestError(f"the variable {name}={text!r} must be a whole number; {_ALONE}")
    return int(text)


def _meet(ranks: Ranks, patience: float) -> Any:
    """A store that every process has reached.

    It is asked again and again: a signal is not heard while the library itself waits.
    """
    host, port, start = os.environ["MASTER_ADDR"], _whole_number("MASTER_PORT", "0"), time.monotonic()
    told = False

    def wait(whom: str) -> None:
        nonlocal told
        waited = time.monotonic() - start
        if waited > patience:
            raise LostProcessError(
                f"{whom} did not come to {host}:{port} within {patience:.0f} s: WORLD_SIZE={ranks.world} says that "
                f"{ranks.world} processes share the work; start all of them, as torchrun does, or {_ALONE}"
            )
        if waited > _SOON and not told:
            told = True
            logger.warning(
                "process %d waits for %s at %s:%d, %.0f s at most, as WORLD_SIZE=%d says; to train alone, unset "
                "WORLD_SIZE and RANK", ranks.rank, whom, host, port, patience, ranks.world,
            )  # fmt: skip
        time.sleep(0.05)

    while not ranks.is_first and not _answers(host, port):
        wait("process 0")
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            "localhost" if ranks.is_first else host,
            port,
            ranks.world,
            ranks.is_first,
            timeout=timedelta(seconds=_CONNECTING),
            wait_for_workers=False,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RequestError(
            f"processes cannot meet at {host}:{port}, which MASTER_ADDR and MASTER_PORT name ({reason}); {_ALONE}"
        ) from error
    store.set(f"here/{ranks.rank}", "")
    while missing := [rank for rank in range(ranks.world) if not store.check([f"here/{rank}"])]:
        wait(f"process {', '.join(map(str, missing[:8]))}" + (" and others" if len(missing) > 8 else ""))
    store.set_timeout(timedelta(seconds=patience))
    return store


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


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
