"""The head that both the aesthetic predictor and ImageReward have: linear layers without bends between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from sanakit.common.errors import CheckpointError

_LAYERS = {0: (1024, 768), 2: (128, 1024), 4: (64, 128), 6: (16, 64), 7: (1, 16)}  # by their names; dropout between


def linear_head(state: Mapping[str, Tensor], path: Path) -> nn.Sequential:
    """``(B, 768)`` to ``(B, 1)``.

    Raises:
        CheckpointError: ``state``, from ``path``, is of another network.
    """
    expected = {f"layers.{number}.weight": shape for number, shape in _LAYERS.items()}
    if {name: tuple(each.shape) for name, each in state.items() if name.endswith("weight")} != expected:
        raise CheckpointError(f"{path} has no head with the layers {', '.join(expected)}")
    layers = [nn.Linear(columns, rows) for rows, columns in _LAYERS.values()]
    for number, layer in zip(_LAYERS, layers, strict=True):
        layer.load_state_dict({leaf: state[f"layers.{number}.{leaf}"].float() for leaf in ("weight", "bias")})
    return nn.Sequential(*layers).requires_grad_(False)
