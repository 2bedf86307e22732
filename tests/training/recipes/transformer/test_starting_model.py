"""What a run begins with when it begins from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.common.errors import ConfigError
from sanakit.training.recipes.recipe import build_recipe
from sanakit.training.recipes.transformer.starting_model import starting_model

MODEL = {
    "hidden_size": 32, "num_layers": 1, "head_dim": 16, "cross_head_dim": 16, "in_channels": 4, "out_channels": 4,
    "caption_channels": 32, "interpolation_scale": 1.0, "sample_size": 8,
}  # fmt: skip
STAGE = {"name": "a", "batch_size": 2, "learning_rate": 1e-3, "steps": 1, "resolutions": [128]}


def recipe(**settings: Any) -> Any:
    given = {"type": "transformer", "data": {"type": "files", "path": "x"}, "stages": [STAGE], "model": MODEL}
    return build_recipe({**given, **settings}, name="test")


@pytest.fixture(scope="module")
def folder(tiny_bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model") / "tiny"
    save_bundle(tiny_bundle, place)
    return place


@pytest.mark.parametrize(
    ("qk_norm", "precision", "family", "trained_in"),
    [(True, "bf16", "sana-1.5", "bfloat16 over float32"), (False, "fp32", "sana", "trained in float32")],
)
def test_a_new_network_comes_from_the_seed_and_its_card_says_what_it_is(
    folder: Path, tiny_bundle: ModelBundle, qk_norm: bool, precision: str, family: str, trained_in: str
) -> None:
    places = {"autoencoder": str(folder), "text_encoder": str(folder), "precision": precision}
    made = {**places, "model": {**MODEL, "qk_norm": qk_norm}, "text": {"max_tokens": 9, "instruction": "Draw: "}}
    one, again, other = (starting_model(recipe(**made, seed=seed), "cpu") for seed in (3, 3, 4))
    states = [start.transformer.state_dict() for start in (one, again, other)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert any(not torch.equal(tensor, states[2][name]) for name, tensor in states[0].items())
    assert {tensor.dtype for tensor in states[0].values()} == {torch.float32}
    card = one.card
    assert (card.family, card.text_encoder, card.licence) == (family, str(folder), "Apache-2.0")
    assert (card.text.max_tokens, card.text.instruction_text) == (9, "Draw: ")
    assert trained_in in card.precision.reason
    assert not card.trained_from
    assert not one.brings_text_encoder
    assert one.standard is None
    assert one.encoders.latent_channels == tiny_bundle.autoencoder.config.latent_channels
    assert one.card_for(128, 2.0).defaults.base_size == 128
    standard = starting_model(recipe(**made, standardise_text=True), "cpu").standard
    assert standard is not None


def test_a_new_network_needs_an_autoencoder() -> None:
    with pytest.raises(ConfigError, match="a new model needs an autoencoder"):
        starting_model(recipe(), "cpu")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"init": "starter", "model": None, "text_encoder": "x"}, "text_encoder: belongs to a new model"),
        ({"growth": {"num_layers": 4}}, "growth: belongs to the weights of init"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recipe(**wrong)
