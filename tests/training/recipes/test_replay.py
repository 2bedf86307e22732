"""A bundle of the guard of an autoencoder's run is computed again; batches go into files and come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sanakit.common.errors import CheckpointError, RequestError
from sanakit.features.batches import LatentBatch, PixelBatch
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.text.text_condition import TextCondition
from sanakit.training.recipes.autoencoder.recipe import AutoencoderRecipe, build_trainees
from sanakit.training.recipes.recipe import build_recipe
from sanakit.training.recipes.replay import replay_bundle
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import flatten, unflatten
from sanakit.training.saving.guard import NonFiniteError, stop_at_bad_step
from sanakit.training.step.step import Outcome, WeightedBatch


def test_batches_come_back_field_by_field() -> None:
    text = TextCondition(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool))
    batch = LatentBatch(torch.randn(2, 1, 2, 2), text)
    tensors = flatten(batch)
    assert set(tensors) == {"batch.latent", "batch.text.embeds", "batch.text.mask"}
    again = unflatten(LatentBatch, tensors)
    assert torch.equal(again.text.embeds, text.embeds)
    assert torch.equal(again.latent, batch.latent)


def test_a_step_of_an_autoencoder_is_replayed_and_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    shape = stages((8, 8, 8), (0, 1, 1))
    settings = {
        "type": "autoencoder", "precision": "fp32", "data": {"type": "scenes", "bank": "tiny"},
        "stages": [{"name": "a", "resolution": 64, "batch_size": 2, "learning_rate": 1e-3, "steps": 1,
                    "objective": {"perceptual_weight": 0.0}}],
    }  # fmt: skip
    from sanakit.common.config import to_mapping

    model_config = DCAutoencoderConfig(encoder=shape, decoder=shape, latent_channels=4)
    recipe = build_recipe({**settings, "model": to_mapping(model_config)}, name="test")
    assert isinstance(recipe, AutoencoderRecipe)
    [trainee] = build_trainees(recipe, 0, recipe.build_model("cpu"), None, "cpu")
    pixels = torch.rand(2, 3, 64, 64)
    pixels[1, 0, 3, 3] = float("nan")
    batches = [WeightedBatch(6, PixelBatch(pixels), seed=1)]
    outcome = Outcome({"loss": float("nan")}, float("nan"))
    with pytest.raises(NonFiniteError, match=r"step 7 .*encoder"):
        stop_at_bad_step(Session(config=recipe, folder=tmp_path), trainee, batches, outcome, RunState(step=6), {})
    bundle = tmp_path / "guard" / "step-7"
    replayed = replay_bundle(bundle)
    assert replayed.is_reproduced
    assert replayed.step == 7
    assert "encoder" in replayed.culprit
    (bundle / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError, match="damaged"):
        replay_bundle(bundle)
    with pytest.raises(RequestError, match="no bundle"):
        replay_bundle(tmp_path)
