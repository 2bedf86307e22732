"""A denoising step of a latent that is larger than its network knows: tile by tile, one in memory at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.models.transformers.compiled_step import Step
from sanakit.models.transformers.condition import Condition


class TiledStep:
    """Stands in for the ``forward`` of a network. Latents of up to ``largest`` positions a side go through whole,
    larger ones as overlapping tiles of one size, whose velocities are blended; noise and solver are of the whole.

    Source: MultiDiffusion, arXiv:2302.08113, with weights that fall towards the borders of a tile.

    Args:
        step: of the network.
        tile: positions a side.
        largest: positions a side that the network does at once.
    """

    def __init__(self, step: Step, *, tile: int, largest: int) -> None:
        self._step, self._tile, self._largest = step, tile, largest

    def __call__(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """``(B, C, h, w)`` to the velocity of that shape, float32 where it is blended."""
        height, width = latent.shape[-2:]
        if max(height, width) <= self._largest:
            return self._step(latent, timestep, condition)
        total = torch.zeros_like(latent, dtype=torch.float32)
        weights = torch.zeros(height, width, device=latent.device)
        for top, rows in _spans(height, self._tile):
            for left, columns in _spans(width, self._tile):
                place = (..., slice(top, top + len(rows)), slice(left, left + len(columns)))
                weight = torch.outer(rows, columns).to(latent.device)
                told = condition.on_map(lambda hint, place=place: hint[place])  # type: ignore[misc]
                velocity = self._step(latent[place].contiguous(), timestep, told)
                total[place] += weight * velocity.float()
                weights[place] += weight
        return total / weights


def _spans(length: int, tile: int) -> list[tuple[int, Tensor]]:
    """Where each tile of a side begins, and the weights of its positions: tiles overlap by a quarter or more."""
    tile = min(tile, length)
    num = 1 + -(-(length - tile) // (3 * tile // 4)) if length > tile else 1
    ramp = torch.arange(tile) + 0.5
    weights = torch.minimum(ramp, ramp.flip(0)).clamp(max=tile / 4)
    return [(round(number * (length - tile) / max(num - 1, 1)), weights) for number in range(num)]
