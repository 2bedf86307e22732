"""The loss by noise level: easy and hard levels average out in one number, and a change of either hides there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NUM_BANDS = 10


class LossBuckets:
    """Means of the loss in ten bands of sigma since they were last taken.

    Sums stay on the device of the samples until they are asked for, so that an accelerator is never waited for.

    Args:
        numbers: to go on from.
    """

    def __init__(self, numbers: Sequence[float] = ()) -> None:
        self._sums = torch.tensor(numbers).view(2, NUM_BANDS) if numbers else None  # losses, samples

    def add(self, sigma: Tensor, per_sample: Tensor) -> None:
        """Count samples: noise levels in [0, 1] and losses, both ``(B,)``."""
        band = (sigma.detach().float() * NUM_BANDS).long().clamp_(0, NUM_BANDS - 1)
        loss = per_sample.detach().float()
        sums = torch.zeros(2, NUM_BANDS, device=loss.device)
        sums.index_add_(1, band, torch.stack([loss, torch.ones_like(loss)]))
        self._sums = sums if self._sums is None else self._sums.to(sums.device) + sums

    def take(self) -> dict[str, float]:
        """``{"loss/sigma_0.0-0.1": mean, ...}`` of the bands that saw samples; counting begins anew."""
        if self._sums is None:
            return {}
        (losses, counts), self._sums = self._sums.tolist(), None
        names = (f"loss/sigma_{band / NUM_BANDS:.1f}-{(band + 1) / NUM_BANDS:.1f}" for band in range(NUM_BANDS))
        return {name: loss / count for name, loss, count in zip(names, losses, counts, strict=True) if count}

    @property
    def numbers(self) -> list[float]:
        """Losses and then samples by band, exact: what a continued run has counted so far."""
        return [0.0] * (2 * NUM_BANDS) if self._sums is None else self._sums.flatten().tolist()
