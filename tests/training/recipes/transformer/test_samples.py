"""Pictures while a run goes on: the same weights give the same grid, and the run does not notice."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.features.encoders import Encoders
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.training.recipes.transformer.samples import SamplePainter
from sanakit.training.recipes.transformer.starting_model import StartingModel
from sanakit.training.run.run_config import SampleConfig


def test_a_grid_is_what_the_pipeline_makes_of_the_given_weights(tiny_bundle: ModelBundle) -> None:
    config = SampleConfig(prompts=("a red apple", "two kites, ü"), steps=2, guidance_scale=2.0, seed=5)
    loads: list[str] = []
    encoders = Encoders(
        autoencoder=lambda: loads.append("autoencoder") or tiny_bundle.autoencoder,  # type: ignore[func-returns-value]
        text=lambda: loads.append("text") or tiny_bundle.text_encoder,  # type: ignore[func-returns-value]
    )
    start = StartingModel(tiny_bundle.transformer, encoders, tiny_bundle.card, False)
    painter = SamplePainter(config, start, device="cpu")
    painter.begin(start.card_for(128, tiny_bundle.card.defaults.flow_shift))
    before = {name: t.clone() for name, t in tiny_bundle.transformer.state_dict().items()}
    averaged = {name: 0.9 * t for name, t in before.items()}
    first = painter.draw(averaged, 10)
    again = painter.draw(averaged, 20)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, painter.draw(before, 30))
    assert all(torch.equal(t, before[name]) for name, t in tiny_bundle.transformer.state_dict().items())
    assert loads == ["autoencoder", "text"] * 3  # let go in between

    whole = TextToImagePipeline(tiny_bundle)("a red apple", seed=5, num_inference_steps=2, guidance_scale=2.0)
    assert np.array_equal(np.asarray(painter.draw(before, 30))[8:136, 8:136], np.asarray(whole.images[0].image))
    assert first.size == (2 * 136 + 8, 128 + 30 + 8 + 8)


def test_samples_have_the_positions_of_their_stage(tiny_bundle: ModelBundle) -> None:
    """A stage that adds positions changes the network's config after the painter was made."""
    encoders = Encoders(autoencoder=lambda: tiny_bundle.autoencoder, text=lambda: tiny_bundle.text_encoder)
    transformer = copy.deepcopy(tiny_bundle.transformer)
    without = transformer.config = replace(transformer.config, interpolation_scale=None)
    start = StartingModel(transformer, encoders, tiny_bundle.card, False)
    painter = SamplePainter(SampleConfig(prompts=("a red apple",), steps=2), start, device="cpu")
    painter.begin(start.card_for(128, tiny_bundle.card.defaults.flow_shift))
    weights = transformer.state_dict()
    before = painter.draw(weights, 1)
    transformer.config = replace(without, interpolation_scale=1.0)
    assert not np.array_equal(before, painter.draw(weights, 2))
    transformer.config = without
    assert np.array_equal(before, painter.draw(weights, 3))
