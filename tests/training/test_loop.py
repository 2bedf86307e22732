"""The loop: its curve, its schedule and its stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.run.run_config import LogConfig
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.parallel import checkpoint_activations
from sanakit.training.step.trainee import PlannedStage


def test_the_learning_rate_rises_stays_and_falls(tmp_path: Path, toy: ModuleType) -> None:
    toy.train_in([toy.toy_stage(toy.network(), toy.STAGE)], toy.toy_config(), tmp_path)
    expected = [1 / 3, 2 / 3, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]  # three steps up, the last half of the ten down
    assert toy.curve(tmp_path, "learning_rate") == pytest.approx([0.02 * rate for rate in expected])


def test_accumulation_is_one_large_batch(tmp_path: Path, toy: ModuleType) -> None:
    """With noise that is the samples' own, three micro-batches (8 + 8 + 6 samples) make the gradient of all 22."""
    norms = []
    for size, accumulation in ((22, 1), (8, 3)):
        model = toy.network()
        config = replace(toy.STAGE, batch_size=size, accumulation=accumulation, steps=4)
        stage = toy.toy_stage(model, config, loss=toy.toy_loss(model, noise=0.0))
        toy.train_in([stage], toy.toy_config(), tmp_path / str(size))
        norms.append(toy.curve(tmp_path / str(size), "gradient_norm"))
        assert toy.curve(tmp_path / str(size), "samples") == [22, 44, 66, 88]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_stages_follow_each_other_and_are_built_when_they_begin(tmp_path: Path, toy: ModuleType) -> None:
    model, built = toy.network(), []
    stages = []
    for name, size, steps in (("low", 4, 3), ("high", 2, 2)):
        planned = toy.toy_stage(model, replace(toy.STAGE, name=name, batch_size=size, steps=steps))

        def build(check: Any, planned: Any = planned, name: str = name) -> Any:
            built.append((name, len(toy.curve(tmp_path, "step")) if (tmp_path / "log.jsonl").exists() else 0))
            return planned.build(check)

        stages.append(replace(planned, build=build))
    result = toy.train_in(stages, toy.toy_config(), tmp_path)
    assert built == [("low", 0), ("high", 3)]
    assert (result.steps, result.samples) == (5, 16)
    assert toy.curve(tmp_path, "stage") == [0, 0, 0, 1, 1]
    assert toy.curve(tmp_path, "epoch") == pytest.approx([1 / 6, 2 / 6, 3 / 6, 1 / 11, 2 / 11])


def test_frozen_parameters_stay(tmp_path: Path, toy: ModuleType) -> None:
    model = toy.network()
    model[0].requires_grad_(False)
    toy.train_in([toy.toy_stage(model, toy.STAGE)], toy.toy_config(), tmp_path)
    assert torch.equal(model[0].weight, toy.network()[0].weight)
    assert not torch.equal(model[2].weight, toy.network()[2].weight)


@pytest.mark.parametrize("length", [3, 5])
def test_activation_checkpointing_changes_no_number(toy: ModuleType, length: int) -> None:
    gradients = []
    for wrap in (lambda model: None, checkpoint_activations):
        torch.manual_seed(0)
        model = LinearDiT(toy.TOY_DIT)
        wrap(model)
        text = TextCondition(
            torch.randn(2, length, 4, generator=torch.Generator().manual_seed(1)),
            torch.ones(2, length, dtype=torch.bool),
        )
        latent = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(2))
        loss = model(latent, torch.tensor([10.0, 900.0]), model.prepare(text)).square().mean()
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_transformer_learns_two_pictures_along_its_stored_curve(tmp_path: Path, toy: ModuleType) -> None:
    """The whole recipe in miniature, in float64: a change of any formula moves the curve."""
    from sanakit.training.recipes.transformer.initialization import initialize_

    model = LinearDiT(replace(toy.TOY_DIT, num_layers=1, qk_norm=False))
    initialize_(model, torch.Generator().manual_seed(0))
    model.double()
    stage = two_pictures(toy, model, replace(toy.STAGE, batch_size=8, learning_rate=1e-2, steps=60, warmup_steps=5))
    toy.train_in([stage], toy.toy_config(log=LogConfig(steps=12, report_to=())), tmp_path)
    losses = toy.curve(tmp_path, "loss")
    assert losses == pytest.approx(STORED_CURVE, rel=1e-3)
    assert losses[-1] < 0.2 * losses[0]


STORED_CURVE = [1.952618, 1.034868, 0.699360, 0.363933, 0.205302]


def two_pictures(toy: ModuleType, model: nn.Module, config: StageConfig) -> Any:
    """Two prompts, two latents, four times each."""
    from sanakit.features.batches import LatentBatch
    from sanakit.training.optimizers.config import AdamWConfig
    from sanakit.training.step.trainee import Stage, Trainee

    latent = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1)).repeat(4, 1, 1, 1).double()
    text = TextCondition(torch.eye(4)[:2, None].repeat(4, 1, 1).double(), torch.ones(8, 1, dtype=torch.bool))

    class Same(toy.ToyData):  # type: ignore[misc, name-defined]
        def batch(self, number: int) -> LatentBatch:
            return LatentBatch(latent, text)

    optimizer = AdamWConfig(betas=(0.9, 0.99), weight_decay=0.0)
    trainee = Trainee("transformer", model, toy.flow_loss(model), optimizer)
    return PlannedStage(config, lambda check: Stage(config, Prefetched(Same(8, 8)), (trainee,), True))
