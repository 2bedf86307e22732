"""A run stops before it spoils its weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.features.batches import NamedSample
from sanakit.training.optimizers.config import AdamWConfig
from sanakit.training.run.stage import microbatch_seed
from sanakit.training.saving.guard import NonFiniteError
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import PlannedStage, Stage, Trainee


def test_the_samples_of_the_bad_micro_batch_are_named_worst_first(tmp_path: Path, toy: ModuleType) -> None:
    """The second of two micro-batches of the step is the bad one; its sample 9 has a number that is none."""
    data = toy.ToyData(24, 4)
    bad = next(number for number in range(6) if 9 in data.keys(number))

    class Named(toy.ToyData):  # type: ignore[misc, name-defined]
        def batch(self, number: int) -> Any:
            batch = super().batch(number)
            batch.x[batch.keys == 9, 1] = float("inf")
            return batch

        def describe(self, number: int) -> list[NamedSample]:
            return [NamedSample(f"k{key}", f"photos/{key}.png", "a kite " * 20) for key in self.keys(number)]

    model, config = toy.network(), replace(toy.STAGE, accumulation=2)
    trainee = Trainee("toy", model, toy.toy_loss(model), AdamWConfig())
    stage = PlannedStage(config, lambda check: Stage(config, Prefetched(Named(24, 4)), (trainee,), True))
    with pytest.raises(
        NonFiniteError, match=r"the worst of its 4 samples is k9 \(photos/9.png, 'a kite .*\[...\]'\)"
    ) as it:
        toy.train_in([stage], toy.toy_config(), tmp_path)
    assert 'data: {leave_out: ["k9"]}' in str(it.value)
    facts = json.loads(next((tmp_path / "guard").glob("*/guard.json")).read_text())
    assert facts["number"] == bad
    assert {sample["key"] for sample in facts["samples"]} == {f"k{key}" for key in data.keys(bad)}
    assert facts["samples"][0] | {"loss": "", "caption": ""} == {
        "key": "k9", "file": "photos/9.png", "caption": "", "loss": "", "greatest_number": "inf",
    }  # fmt: skip


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["loss", "gradient", "output"])
def test_a_run_that_leaves_the_numbers_stops_before_it_spoils_its_weights(
    tmp_path: Path, toy: ModuleType, where: str, poison: float
) -> None:
    model = toy.network()
    good = toy.toy_loss(model)
    bad = toy.ToyData(22, 4).keys(4)
    before: dict[str, Tensor] = {}

    def loss(batch: Any, generator: torch.Generator, made: Any) -> dict[str, Tensor]:
        is_bad = batch.keys.tolist() == bad
        if is_bad:
            before.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        if is_bad and where == "output":
            batch = replace(batch, x=batch.x * poison)
        terms = dict(good(batch, generator, made))
        if is_bad and where == "loss":
            terms["loss"] = terms["loss"] * poison
        elif is_bad and where == "gradient":
            terms["loss"].register_hook(lambda gradient: gradient * poison)
        return terms

    names = {"loss": "the term 'loss'", "gradient": "the gradient of toy.2.bias", "output": "the output of toy.0"}
    with pytest.raises(NonFiniteError, match="step 5") as caught:
        toy.train_in([toy.toy_stage(model, toy.STAGE, loss=loss)], toy.toy_config(), tmp_path)
    assert names[where] in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    facts = json.loads((tmp_path / "guard" / "step-5" / "guard.json").read_text())
    assert (facts["number"], facts["stage"], facts["seed"]) == (4, 0, microbatch_seed(0, 0, 4))
    assert list(facts["ranges"]) == ["0", "1", "2"]
    assert toy.curve(tmp_path, "step") == [1, 2, 3, 4]


def test_of_two_micro_batches_the_second_is_the_bad_one(tmp_path: Path, toy: ModuleType) -> None:
    model = toy.network()
    good, bad = toy.toy_loss(model), toy.ToyData(22, 4).keys(3)

    def loss(batch: Any, generator: torch.Generator, made: Any) -> dict[str, Tensor]:
        terms = dict(good(batch, generator, made))
        return {**terms, "loss": terms["loss"] * float("nan")} if batch.keys.tolist() == bad else terms

    stage = replace(toy.STAGE, accumulation=2)
    with pytest.raises(NonFiniteError, match="step 2"):
        toy.train_in([toy.toy_stage(model, stage, loss=loss)], toy.toy_config(), tmp_path)
    facts = json.loads((tmp_path / "guard" / "step-2" / "guard.json").read_text())
    assert (facts["number"], facts["seed"]) == (3, microbatch_seed(0, 0, 3))
