"""From a model and a config to optimisers, and the learning rate for a size of batch."""

from __future__ import annotations

import math
from typing import Literal, assert_never

import torch
from torch import nn

from sanakit.common.errors import ConfigError
from sanakit.common.ranks import ALONE, Ranks
from sanakit.training.optimizers.came import CAME, CAME8Bit
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig, MuonConfig, OptimizerConfig
from sanakit.training.optimizers.muon import Muon

BASE_BATCH = 256  # samples of a step that a learning rate is meant for, with the rules "sqrt" and "linear"


def build_optimizers(
    model: nn.Module, config: OptimizerConfig, *, learning_rate: float, ranks: Ranks = ALONE
) -> list[torch.optim.Optimizer]:
    """Optimisers that together train every parameter of ``model`` with ``requires_grad`` exactly once.

    Parameters may be shards of FSDP2 (``DTensor`` cut along their first dimension): the step is that of the whole
    tensor, to rounding, and the state can be saved by ``torch.distributed.checkpoint``. ``ranks`` are the processes
    that step the same model.

    Raises:
        ConfigError: nothing is trained.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not named:
        raise ConfigError(f"no parameter of {type(model).__name__} requires a gradient, so there is nothing to train")
    parameters = list(named.values())
    match config:
        case AdamWConfig():
            return [_adamw(parameters, config, learning_rate)]
        case MuonConfig():
            matrices = {name: p for name, p in named.items() if is_block_matrix(name, p)}
            rest = [p for name, p in named.items() if name not in matrices]
            return [
                *([Muon(matrices.values(), config, learning_rate=learning_rate, ranks=ranks)] if matrices else []),
                *([_adamw(rest, config, learning_rate)] if rest else []),
            ]
        case CAMEConfig():
            return [CAME(parameters, config, learning_rate=learning_rate)]
        case CAME8BitConfig():
            return [CAME8Bit(parameters, config, learning_rate=learning_rate)]
        case _:
            assert_never(config)


def is_block_matrix(name: str, parameter: nn.Parameter) -> bool:
    """A matrix that multiplies features inside a block; not the first and last layers, and no table of vectors."""
    return parameter.ndim == 2 and "blocks." in name and not name.endswith("table")


def auto_learning_rate(learning_rate: float, *, effective_batch: int, rule: Literal["none", "sqrt", "linear"]) -> float:
    """The learning rate for a step of ``effective_batch`` samples, from the one for 256 (NVlabs/Sana, ``auto_lr``).

    ``effective_batch`` counts the samples of all processes and accumulations.
    """
    ratio = effective_batch / BASE_BATCH
    match rule:
        case "none":
            return learning_rate
        case "sqrt":
            return learning_rate * math.sqrt(ratio)
        case "linear":
            return learning_rate * ratio
        case _:
            assert_never(rule)


def _adamw(parameters: list[nn.Parameter], config: AdamWConfig | MuonConfig, learning_rate: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters, lr=learning_rate, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay
    )
