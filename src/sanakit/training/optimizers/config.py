"""What a recipe says about its optimiser; the learning rate belongs to the stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sanakit.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamWConfig:
    """AdamW (Loshchilov and Hutter, arXiv:1711.05101): eight bytes of state per parameter."""

    type: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self.betas, self.weight_decay, eps=self.eps)


@dataclass(frozen=True, kw_only=True, slots=True)
class MuonConfig:
    """Muon for the matrices inside blocks, AdamW (with ``betas`` and ``eps``) for the rest.

    Steps have the root mean square of AdamW's, so that one learning rate fits both (arXiv:2502.16982).
    """

    type: Literal["muon"] = "muon"
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check((self.momentum, *self.betas), self.weight_decay, eps=self.eps)


@dataclass(frozen=True, kw_only=True, slots=True)
class CAMEConfig:
    """CAME (Luo et al., arXiv:2307.02047), which SANA is trained with: half of AdamW's state.

    Attributes:
        betas: of the step, of the squared gradient, and of the squared distance of a step from its mean.
        eps: added to the squared gradient and to the squared distance.
        clip_threshold: of the root mean square of a parameter's normalised gradient.
    """

    type: Literal["came"] = "came"
    betas: tuple[float, float, float] = (0.9, 0.999, 0.9999)
    eps: tuple[float, float] = (1e-30, 1e-16)
    clip_threshold: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self.betas, self.weight_decay, eps=min(self.eps), clip_threshold=self.clip_threshold)


@dataclass(frozen=True, kw_only=True, slots=True)
class CAME8BitConfig:
    """CAME whose mean of steps is kept in eight bits (SANA-1.5, arXiv:2501.18427): an eighth of AdamW's state.

    Attributes:
        block_size: most elements of a row that share a smallest value and a scale.
        min_8bit_size: matrices with more elements than this are kept in eight bits.
    """

    type: Literal["came8bit"] = "came8bit"
    betas: tuple[float, float, float] = (0.9, 0.999, 0.9999)
    eps: tuple[float, float] = (1e-30, 1e-16)
    clip_threshold: float = 1.0
    weight_decay: float = 0.0
    block_size: int = 2048
    min_8bit_size: int = 16_384

    def __post_init__(self) -> None:
        _check(self.betas, self.weight_decay, eps=min(self.eps), clip_threshold=self.clip_threshold)
        if self.block_size < 1 or self.min_8bit_size < 0:
            raise ConfigError(
                f"block_size={self.block_size} must be at least 1 and min_8bit_size={self.min_8bit_size} at least 0"
            )


OptimizerConfig = AdamWConfig | MuonConfig | CAMEConfig | CAME8BitConfig


def _check(betas: tuple[float, ...], weight_decay: float, **positive: float) -> None:
    if not all(0 <= beta < 1 for beta in betas):
        raise ConfigError(f"the decays of an optimiser's means {betas} must lie from 0 to below 1")
    for name, value in positive.items():
        if not value > 0:
            raise ConfigError(f"{name}={value} must be positive")
    if not weight_decay >= 0:
        raise ConfigError(f"weight_decay={weight_decay} must not be negative")
