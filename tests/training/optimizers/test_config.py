"""What a recipe may leave out of its optimiser, and the first settings that are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sanakit.common.errors import ConfigError
from sanakit.training.optimizers.build import build_optimizers, is_block_matrix
from sanakit.training.optimizers.came import CAME8Bit
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig, MuonConfig, OptimizerConfig


def test_what_is_left_out_is_as_published() -> None:
    adamw, muon, came, small = AdamWConfig(), MuonConfig(), CAMEConfig(), CAME8BitConfig()
    for config in (adamw, muon):
        assert (config.betas, config.eps, config.weight_decay) == ((0.9, 0.99), 1e-8, 0.0)
    assert muon.momentum == 0.95
    for config in (came, small):
        assert (config.betas, config.eps) == ((0.9, 0.999, 0.9999), (1e-30, 1e-16))
        assert (config.clip_threshold, config.weight_decay) == (1.0, 0.0)
    assert (small.block_size, small.min_8bit_size) == (2048, 16_384)
    assert [each.type for each in (adamw, muon, came, small)] == ["adamw", "muon", "came", "came8bit"]


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        *((kind, {"weight_decay": -0.1}, "weight_decay=-0.1") for kind in (AdamWConfig, MuonConfig, CAMEConfig)),
        *((kind, {"weight_decay": float("nan")}, "weight_decay=nan") for kind in (AdamWConfig, CAME8BitConfig)),
        (AdamWConfig, {"betas": (1.0, 0.9)}, "must lie from 0 to below 1"),
        (AdamWConfig, {"betas": (0.9, -0.1)}, "must lie from 0 to below 1"),
        (MuonConfig, {"momentum": 1.0}, "must lie from 0 to below 1"),
        (MuonConfig, {"betas": (0.9, 1.0)}, "must lie from 0 to below 1"),
        (CAMEConfig, {"betas": (0.9, 0.9, 1.0)}, "must lie from 0 to below 1"),
        (CAME8BitConfig, {"betas": (0.9, 0.9, 1.0)}, "must lie from 0 to below 1"),
        *((kind, {"eps": 0.0}, "eps=0.0 must be positive") for kind in (AdamWConfig, MuonConfig)),
        (CAMEConfig, {"eps": (1e-30, 0.0)}, "eps=0.0 must be positive"),
        (CAME8BitConfig, {"eps": (0.0, 1e-16)}, "eps=0.0 must be positive"),
        *((kind, {"clip_threshold": 0.0}, "clip_threshold=0.0") for kind in (CAMEConfig, CAME8BitConfig)),
        (CAME8BitConfig, {"block_size": 0}, "block_size=0 must be at least 1"),
        (CAME8BitConfig, {"min_8bit_size": -1}, "min_8bit_size=-1 at least 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(kind: type, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**wrong)


def test_the_least_settings_are_fine() -> None:
    assert AdamWConfig(betas=(0.0, 0.0)).betas == (0.0, 0.0)
    assert MuonConfig(momentum=0.0).momentum == 0.0
    assert CAME8BitConfig(block_size=1, min_8bit_size=0).block_size == 1


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (
            AdamWConfig(betas=(0.5, 0.6), eps=0.1, weight_decay=0.2),
            {"betas": (0.5, 0.6), "eps": 0.1, "weight_decay": 0.2},
        ),
        (MuonConfig(momentum=0.4, weight_decay=0.3), {"momentum": 0.4, "weight_decay": 0.3}),
        (
            CAMEConfig(betas=(0.1, 0.2, 0.3), eps=(0.4, 0.5), clip_threshold=0.6, weight_decay=0.7),
            {"betas": (0.1, 0.2, 0.3), "eps": (0.4, 0.5), "clip_threshold": 0.6, "weight_decay": 0.7},
        ),
    ],
)
def test_settings_reach_the_optimizer(config: OptimizerConfig, settings: dict[str, Any]) -> None:
    model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(3, 2)])})
    group = build_optimizers(model, config, learning_rate=0.25)[0].param_groups[0]
    assert group["lr"] == 0.25
    assert {name: group[name] for name in settings} == settings


def test_matrices_inside_blocks_are_muons() -> None:
    matrix, vector = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2))
    names = {"blocks.0.out.weight": True, "stages.blocks.1.up.weight": True, "final.weight": False,
             "blocks.0.scale_shift_table": False, "blocks.0.tables.weight": True}  # fmt: skip
    assert {name: is_block_matrix(name, matrix) for name in names} == names
    assert not is_block_matrix("blocks.0.out.bias", vector)


def test_eight_bits_begin_above_the_size_that_is_named() -> None:
    for size, kept in ((11, {"mean_codes", "mean_smallest", "mean_scale"}), (12, {"mean"}), (13, {"mean"})):
        optimizer = CAME8Bit([p := nn.Parameter(torch.ones(3, 4))], CAME8BitConfig(min_8bit_size=size), learning_rate=1)
        state = optimizer.new_state(p)
        assert kept <= state.keys()
        assert "mean" in state or state["mean_codes"].dtype == torch.uint8
