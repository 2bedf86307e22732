"""Muon: steps whose singular values are all about one (Jordan et al., 2024), by torch's own implementation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from sanakit.training.optimizers.config import MuonConfig


class Muon(torch.optim.Muon):
    """torch's Muon with steps of AdamW's size."""

    def __init__(self, params: Iterable[nn.Parameter], config: MuonConfig, *, learning_rate: float) -> None:
        super().__init__(
            list(params), lr=learning_rate, weight_decay=config.weight_decay, momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        )  # fmt: skip
