"""What is saved has changed, and comes back."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.common.ranks import ALONE
from sanakit.training.run.run_config import CheckpointConfig
from sanakit.training.saving.checkpoint import load_tensors, newest


def test_weights_that_do_not_change_are_warned_of_and_refused_at_the_end(
    tmp_path: Path, toy: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    def stuck(batch: Any, generator: torch.Generator, made: Any) -> dict[str, Tensor]:
        return {"loss": sum(0 * p.sum() for p in model.parameters()) + batch.x.square().mean()}

    model = toy.network()
    config = toy.toy_config(checkpoints=CheckpointConfig(minutes=None, steps=5))
    stages = [toy.toy_stage(model, toy.STAGE, loss=stuck)]
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ConfigError, match="stage only is over, and the weights of toy"),
    ):
        toy.train_in(stages, config, tmp_path / "stuck")
    assert caplog.text.count("the same as 5 updates ago") == 2
    caplog.clear()
    model = toy.network()
    with caplog.at_level(logging.WARNING):
        toy.train_in([toy.toy_stage(model, toy.STAGE)], config, tmp_path / "moving")
    assert "updates ago" not in caplog.text


def test_the_trained_model_is_its_average_and_again_when_nothing_is_left_to_do(tmp_path: Path, toy: ModuleType) -> None:
    first, second = toy.network(), toy.network(1)
    toy.train_in([toy.toy_stage(first, toy.STAGE)], toy.toy_config(), tmp_path)
    log = (tmp_path / "log.jsonl").read_text()
    result = toy.train_in([toy.toy_stage(second, toy.STAGE)], toy.toy_config(), tmp_path)
    assert result.steps == 10
    assert (tmp_path / "log.jsonl").read_text() == log
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    checkpoint = newest(tmp_path / "checkpoints")
    assert checkpoint is not None
    saved = {"ema.0.weight": torch.empty(8, 3), "model.toy.0.weight": torch.empty(8, 3)}
    load_tensors(checkpoint, saved, ranks=ALONE)
    assert torch.equal(first[0].weight, saved["ema.0.weight"])
    assert not torch.equal(first[0].weight, saved["model.toy.0.weight"])
