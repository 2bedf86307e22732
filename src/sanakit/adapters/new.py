"""An adapter before its first step: which layers it is beside, and how its numbers are drawn."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from sanakit.adapters.adapter import Adapter, matrix_of
from sanakit.adapters.side_paths import Hadamard, Kronecker, LowRank, Place, SidePath, lengths_of
from sanakit.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterConfig:
    """What is trained beside a network that stays as it is."""

    kind: Literal["lora", "dora", "loha", "lokr"] = "lora"
    rank: int = 16
    alpha: float | None = None  # None: the rank, so that the change counts as it is
    dropout: float = 0.0  # of the input's values, while it trains
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v")  # ends of the names that layers have in diffusers
    trigger: str = ""  # a word that it is taught, for the tags of its file

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"adapter: rank={self.rank} must be at least 1")
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"adapter: alpha={self.alpha} must be a positive number")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"adapter: dropout={self.dropout} must be from 0 to below 1")
        if not self.targets:
            raise ConfigError("adapter: targets is empty; name layers such as to_q")

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank


def new_adapter(network: nn.Module, places: Mapping[str, Place], config: AdapterConfig, seed: int) -> Adapter:
    """Beside every layer that a target means, in float32 on the network's device; its first change is nothing.

    Args:
        network: whose layers they are; on the meta device nothing is drawn.
        places: its layers by their names in diffusers.
        config: what to make.
        seed: of the numbers.

    Raises:
        ConfigError: a target means no layer.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = {name: place for name, place in places.items() if any(_means(end, name) for end in config.targets)}
    for end in config.targets:
        if not any(_means(end, name) for name in chosen):
            close = difflib.get_close_matches(end, {name.split(".", 2)[-1] for name in places}, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]}?" if close else f"its layers are {', '.join(list(places)[:6])} ..."
            raise ConfigError(f"adapter: targets: {end} is no layer of the network; {hint}")
    paths = {name: _new_path(network, place, config, generator) for name, place in chosen.items()}
    return Adapter(paths).to(next(network.parameters()).device)


def _means(end: str, name: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _new_path(network: nn.Module, place: Place, config: AdapterConfig, generator: torch.Generator) -> SidePath:
    rank, rows, columns = config.rank, place.out_features, place.in_features
    scale, dropout = config.scale, config.dropout

    def uniform(*shape: int) -> Tensor:
        """Within ``1 / sqrt(columns)``, as PyTorch draws a linear layer."""
        bound = shape[-1] ** -0.5
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    def normal(*shape: int, std: float) -> Tensor:
        return torch.empty(shape).normal_(std=std, generator=generator)

    match config.kind:
        case "lora":
            return LowRank(place, uniform(rank, columns), torch.zeros(rows, rank), scale=scale, dropout=dropout)
        case "dora":
            lengths = lengths_of(matrix_of(network.get_submodule(place.layer))[place.rows])
            how = {"magnitude": lengths, "scale": scale, "dropout": dropout}
            return LowRank(place, uniform(rank, columns), torch.zeros(rows, rank), **how)  # type: ignore[arg-type]
        case "loha":
            first = normal(rows, rank, std=0.1), normal(rank, columns, std=1.0)
            return Hadamard(
                place, (*first, torch.zeros(rows, rank), normal(rank, columns, std=1.0)), scale=scale, dropout=dropout
            )
        case "lokr":
            (rows_1, rows_2), (columns_1, columns_2) = _factors(rows), _factors(columns)
            right: tuple[Tensor, ...] = (torch.zeros(rows_2, columns_2),)
            if rank < min(rows_2, columns_2):
                right = (torch.zeros(rows_2, rank), uniform(rank, columns_2))
            own = scale if len(right) > 1 else 1.0  # readers of files follow no alpha without a rank
            return Kronecker(place, (uniform(rows_1, columns_1),), right, scale=own, dropout=dropout)
    assert_never(config.kind)


def _factors(size: int) -> tuple[int, int]:
    """Two that make it, as near to each other as can be, the smaller one first."""
    small = max(each for each in range(1, math.isqrt(size) + 1) if size % each == 0)
    return small, size // small
