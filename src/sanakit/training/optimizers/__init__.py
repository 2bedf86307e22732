"""Optimisers: what a recipe can name (``config``), how they are built (``build``), and CAME itself (``came``)."""

from sanakit.training.optimizers.build import auto_learning_rate, build_optimizers
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig, MuonConfig, OptimizerConfig

__all__ = [
    "AdamWConfig", "CAME8BitConfig", "CAMEConfig", "MuonConfig", "OptimizerConfig", "auto_learning_rate",
    "build_optimizers",
]  # fmt: skip
