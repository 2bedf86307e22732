"""Training the dual encoder: its curve, that it tells captions apart, and its recipe."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import LlamaModel, PreTrainedTokenizerFast

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import ConfigError
from sanakit.models.dual_encoder import DualEncoder, DualEncoderConfig
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.scoring.dual_encoder import PATCH_CHANNELS, PictureReader, load_dual_encoder, scorer_text
from sanakit.training.recipes.dual_encoder.families import FAMILY_SIZE, FamilyCache
from sanakit.training.recipes.dual_encoder.family_batches import PairBatch
from sanakit.training.recipes.dual_encoder.recipe import DualEncoderRecipe, dual_encoder_terms
from sanakit.training.recipes.train import train
from sanakit.worlds.banks.bank_files import load_bank

RECIPE = Path(__file__).parents[4] / "recipes" / "starter-dual-encoder.yaml"
STORED_CURVE = [11.77459, 6.90504, 5.86583, 5.38383, 4.99116]  # means of twelve steps, float64


def toy_batch(seed: int) -> PairBatch:
    """Four families whose features are their words, for pictures and texts alike: a thing, and what it is like."""
    rng = np.random.default_rng(seed)
    things, words = rng.integers(8, size=4).repeat(FAMILY_SIZE), np.tile(np.arange(FAMILY_SIZE), 4)
    features = torch.zeros(len(words), 14, dtype=torch.float64)
    features[np.arange(len(words)), things] = features[np.arange(len(words)), 8 + words] = 1
    mixing = torch.randn(14, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = (features @ mixing).unflatten(1, (4, 6))
    same = torch.from_numpy((things[:, None] == things) & (words[:, None] == words))
    labels = torch.where(same, 1, -1).to(torch.int8)
    return PairBatch(values, TextCondition(values, torch.ones(len(words), 4, dtype=torch.bool)), labels)


def test_the_stored_loss_curve() -> None:
    torch.manual_seed(0)
    model = DualEncoder(DualEncoderConfig(
        picture_channels=6, num_patches=4, text_channels=6, hidden_size=16, head_dim=8, embed_size=16, num_queries=2,
        num_picture_layers=1, num_text_layers=1,
    )).double()  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.99), weight_decay=0.0)
    losses, firsts = [], []
    for step in range(60):
        terms = dual_encoder_terms(model, toy_batch(step % 6))
        terms["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(terms["loss"].detach()))
        firsts.append(float(terms["own_caption_first"]))
    means = [float(np.mean(losses[i : i + 12])) for i in range(0, 60, 12)]
    assert means == pytest.approx(STORED_CURVE, rel=1e-3)
    assert means[-1] < 0.8 * means[0]
    assert np.mean(firsts[-12:]) > np.mean(firsts[:12])


def test_a_run_writes_weights_that_load(
    tiny_bundle: ModelBundle, tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Two steps of the recipe on features that are there; the same command again finds the run finished."""
    recipe = from_mapping(DualEncoderRecipe, {
        "model": {"picture_channels": PATCH_CHANNELS, "num_patches": 16, "text_channels": 32, "hidden_size": 16,
                  "head_dim": 8, "embed_size": 8, "num_picture_layers": 1, "num_text_layers": 1},
        "data": {"bank": "tiny", "num_families": 1, "num_position_families": 1, "num_copies": 1,
                 "reconstructed_share": 0.0},
        "stages": [{"name": "families", "batch_size": 12, "learning_rate": 1e-3, "steps": 2}],
        "log": {"steps": 1, "report_to": []}, "report": False,
    })  # fmt: skip
    encoder = TextEncoder(tiny_language_model, tiny_tokenizer, scorer_text(recipe.model))
    FamilyCache(
        tmp_path / "features", load_bank("tiny"), encoder=encoder, reader=PictureReader(),
        autoencoder=tiny_bundle.autoencoder,
    ).fill(recipe.data)  # fmt: skip
    trained = train(recipe, tmp_path).weights
    loaded = load_dual_encoder(tmp_path / "model")
    assert loaded.config == recipe.model
    for name, tensor in trained.items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=0.01, atol=1e-6)
    assert float(loaded.picture.std.min()) > 0
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len(log) == 2
    again = train(recipe, tmp_path).weights
    assert (tmp_path / "log.jsonl").read_text().splitlines() == log
    for name, tensor in again.items():
        assert torch.equal(tensor, trained[name])
    place = shutil.copytree(load_bank("tiny").folder, tmp_path / "bank")
    moved = replace(recipe, data=replace(recipe.data, bank=str(place)))
    train(moved, tmp_path)
    (place / "bank.json").write_text((place / "bank.json").read_text() + "\n")
    with pytest.raises(ConfigError, match=r"data of the recipe is not what .* \(other scenes\)"):
        train(moved, tmp_path)


def test_own_caption_first_counts_wrong_captions_only() -> None:
    class Fixed(DualEncoder):
        def __init__(self, logits: torch.Tensor) -> None:
            torch.nn.Module.__init__(self)
            self.logits_of_all = logits

        def forward(self, patches: torch.Tensor, text: TextCondition) -> torch.Tensor:
            return self.logits_of_all

    batch = toy_batch(0)
    size = len(batch.labels)
    perfect = dual_encoder_terms(Fixed(20 * torch.eye(size) - 10), batch)
    assert float(perfect["own_caption_first"]) == 1.0
    none = dual_encoder_terms(Fixed(-20 * torch.eye(size)), batch)
    assert float(none["own_caption_first"]) == 0.0
    assert float(none["loss"]) > float(perfect["loss"])


def test_the_shipped_recipe_is_read() -> None:
    recipe = from_mapping(DualEncoderRecipe, yaml.safe_load(RECIPE.read_text()), where="recipe")
    assert to_mapping(recipe)["type"] == "dual_encoder"
    assert recipe.data.num_families > 0


def test_recipes_that_cannot_work_are_refused() -> None:
    recipe = from_mapping(DualEncoderRecipe, yaml.safe_load(RECIPE.read_text()), where="recipe")
    with pytest.raises(ConfigError, match="multiple of 6"):
        replace(recipe, stages=(replace(recipe.stages[0], batch_size=32),))
    with pytest.raises(ConfigError, match="EfficientNet"):
        replace(recipe, model=replace(recipe.model, num_patches=64))
