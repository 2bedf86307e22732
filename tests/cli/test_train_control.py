"""Training a ControlNet beside a network that stays as it is, from pictures that are annotated as they are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import sanakit
from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.training.recipes.planning import plan
from sanakit.training.recipes.train import train
from sanakit.training.recipes.transformer.recipe import TransformerRecipe

FILE = "controlnet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def settings(short_run: dict[str, Any]) -> dict[str, Any]:
    return {**short_run, "control": {"type": "edges", "blocks": 1}}


@pytest.mark.parametrize("topology", ["upstream", "diffusers"])
def test_a_run_leaves_a_controlnet_and_continues_to_the_bit(
    topology: str, tmp_path: Path, settings: dict[str, Any], tiny_model: Path
) -> None:
    settings["control"] |= {"topology": topology}
    recipe, run = from_mapping(TransformerRecipe, settings), tmp_path / "run"
    before = {path: path.read_bytes() for path in tiny_model.rglob("*.safetensors")}
    train(recipe, run)
    first = load_file(run / FILE)
    assert not (run / "model").exists()
    assert all(path.read_bytes() == content for path, content in before.items())
    short = replace(recipe, stages=(replace(recipe.stages[0], steps=3),))
    train(short, tmp_path / "again")
    train(recipe, tmp_path / "again")
    again = load_file(tmp_path / "again" / FILE)
    assert first.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert any(tensor.any() for name, tensor in first.items() if "after_proj" in name or "controlnet_blocks" in name)
    pipeline, size = sanakit.load(tiny_model), {"height": 128, "width": 128, "num_inference_steps": 1}
    use = {"image": tmp_path / "photos" / "0.png", "model": run / "controlnet"}
    with_it = pipeline("a thing", controls=[use], **size).images[0]
    assert with_it.record.request.controls[0].type == "edges"
    assert not torch.equal(with_it.latent, pipeline("a thing", **size).images[0].latent)


def test_what_it_takes_is_planned_and_what_does_not_fit_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    recipe = from_mapping(TransformerRecipe, settings)
    whole = from_mapping(TransformerRecipe, {**settings, "control": None})
    beside, plain = (plan(each, "cpu")[0] for each in (recipe, whole))
    assert beside.frozen == plain.weights
    assert beside.gradients == beside.weights < plain.weights
    assert beside.optimizer < plain.optimizer
    for changed, sentence in (
        ({"control": {"type": "magic"}}, "it is one of edges"),
        ({"control": {"blocks": 0}}, "must be at least 1"),
        ({"adapter": {"rank": 2}}, "control: is beside the weights"),
        ({"samples": {"prompts": ["a"]}}, "control: is beside the weights"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            from_mapping(TransformerRecipe, {**settings, **changed})
    booth = {"type": "dreambooth", "instance": settings["data"]["path"], "prompt": "a", "class_prompt": "b"}
    with pytest.raises(RequestError, match="a ControlNet learns from files or scenes"):
        train(from_mapping(TransformerRecipe, {**settings, "data": booth}), tmp_path / "run")
    deep = from_mapping(TransformerRecipe, {**settings, "control": {"blocks": 2}})
    with pytest.raises(ConfigError, match="needs a transformer of more"):
        train(deep, tmp_path / "other")
