"""From a recipe's words to optimisers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.optimizers.build import auto_learning_rate, build_optimizers
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig, MuonConfig, OptimizerConfig

TINY = LinearDiTConfig(
    hidden_size=8, num_layers=2, cross_head_dim=4, head_dim=4, in_channels=3, out_channels=3, caption_channels=6
)


@pytest.mark.parametrize("config", [AdamWConfig(), MuonConfig(), CAMEConfig(), CAME8BitConfig()])
def test_every_trained_parameter_has_one_optimizer(config: OptimizerConfig) -> None:
    model = LinearDiT(TINY)
    model.patch_embed.requires_grad_(False)
    optimizers = build_optimizers(model, config, learning_rate=0.5)
    found = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.5}


def test_muon_takes_the_matrices_of_blocks() -> None:
    model = LinearDiT(TINY)
    muon, adamw = build_optimizers(model, MuonConfig(), learning_rate=0.1)
    names = {id(p): name for name, p in model.named_parameters()}
    taken = {names[id(p)] for p in muon.param_groups[0]["params"]}
    assert {"blocks.0.attention.qkv.weight", "blocks.1.cross_attention.kv.weight"} <= taken
    assert all(name.startswith("blocks.") and name.endswith("weight") for name in taken)
    left = {names[id(p)] for p in adamw.param_groups[0]["params"]}
    assert {"blocks.0.scale_shift_table", "final.weight", "patch_embed.weight", "modulation.weight"} <= left


def test_muon_without_blocks_is_adamw() -> None:
    (optimizer,) = build_optimizers(nn.Linear(3, 2), MuonConfig(betas=(0.8, 0.7)), learning_rate=0.1)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.7)


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        build_optimizers(nn.Linear(3, 2).requires_grad_(False), AdamWConfig(), learning_rate=0.1)


@pytest.mark.parametrize(("rule", "batch", "expected"), [
    ("sqrt", 48, 4.330e-5),  # as a public log of fine-tuning shows it (NVlabs/Sana#206)
    ("linear", 48, 1.875e-5), ("none", 48, 1e-4), ("sqrt", 256, 1e-4), ("linear", 1024, 4e-4),
])  # fmt: skip
def test_the_rate_follows_the_batch(rule: Any, batch: int, expected: float) -> None:
    assert auto_learning_rate(1e-4, effective_batch=batch, rule=rule) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("wrong", [
    {"type": "came", "betas": [0.9, 1.0, 0.9]}, {"type": "adamw", "betas": [-0.1, 0.9]},
    {"type": "came", "clip_threshold": 0}, {"type": "came8bit", "block_size": 0}, {"type": "muon", "weight_decay": -1},
    {"type": "came", "eps": [0.0, 1e-16]}, {"type": "came", "block_size": 8}, {"type": "lion"},
])  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        _Recipe.read(wrong)


def test_a_recipe_names_its_optimizer() -> None:
    assert _Recipe.read({"type": "came8bit", "betas": [0.8, 0.9, 0.99]}) == CAME8BitConfig(betas=(0.8, 0.9, 0.99))


class _Recipe:
    @staticmethod
    def read(mapping: dict[str, Any]) -> OptimizerConfig:
        from dataclasses import make_dataclass

        holder = make_dataclass("Holder", [("optimizer", OptimizerConfig)])
        found: OptimizerConfig = from_mapping(holder, {"optimizer": mapping}).optimizer
        return found
