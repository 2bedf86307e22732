"""The loss by noise level: easy and hard levels average out in one number, and a change of either hides there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NUM_BANDS = 10


class LossBuckets:
    """Means of the loss in ten bands of sigma since they were last taken.

    Sums stay on the device of the samples until they are asked for, so that an accelerator is never waited for.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None  # (2, bands): losses, samples

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
        return {
            f"loss/sigma_{band / NUM_BANDS:.1f}-{(band + 1) / NUM_BANDS:.1f}": loss / count
            for band, (loss, count) in enumerate(zip(losses, counts, strict=True)) if count
        }  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, exact: what a continued run has counted so far."""
        return {"sums": None if self._sums is None else self._sums.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums = None if state["sums"] is None else torch.tensor(state["sums"])
