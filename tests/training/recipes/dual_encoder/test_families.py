"""Cached families: what is written, micro-batches by number, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaModel, PreTrainedTokenizerFast

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.common.errors import ConfigError
from sanakit.common.pixels import to_unit
from sanakit.models.dual_encoder import DualEncoderConfig
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.scoring.dual_encoder import PATCH_CHANNELS, PictureReader, scorer_text
from sanakit.training.recipes.dual_encoder.families import (
    FAMILY_SIZE,
    FamiliesConfig,
    FamilyCache,
    check_families,
    reconstructed,
    scene_family,
)
from sanakit.training.recipes.dual_encoder.family_batches import FamilyBatches, labels_by_name
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.sampling.holdout import heldout_pairings
from sanakit.worlds.telling.truth import truth

CONFIG = FamiliesConfig(
    bank="tiny", num_families=2, num_position_families=1, num_copies=2, reconstructed_share=0.5, latent_noise=0.1,
    seed=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(
    tiny_bundle: ModelBundle, tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    folder = tmp_path_factory.mktemp("features")
    sizes = DualEncoderConfig(picture_channels=PATCH_CHANNELS, num_patches=16, text_channels=32)
    encoder = TextEncoder(tiny_language_model, tiny_tokenizer, scorer_text(sizes))
    autoencoder = tiny_bundle.autoencoder
    FamilyCache(folder, load_bank("tiny"), encoder=encoder, reader=PictureReader(), autoencoder=autoencoder).fill(
        CONFIG
    )
    return folder


def test_families_hold_their_own_hard_negatives() -> None:
    bank, rng = load_bank("tiny"), np.random.default_rng(2)
    for number in range(24):
        family = scene_family(rng, bank, related=number % 2 == 1)
        assert len(family) == FAMILY_SIZE
        assert not any(heldout_pairings(scene) for scene in family)
        assert all(truth(other, family[0], bank) == -1 for other in family[1:])
        assert all(truth(scene, scene, bank) == 1 for scene in family)
        if number % 2:
            assert family[0].relation is not None
            if family[0].relation != "on":
                assert any(other.relation != family[0].relation for other in family[1:])


def test_what_is_cached(folder: Path) -> None:
    assert check_families(CONFIG, load_bank("tiny"), folder)
    part = torch.load(folder / "families-0000.pt", weights_only=True)
    assert part["patches"].shape == (2, 18, 16, PATCH_CHANNELS)
    assert part["labels"].shape == (2, 3, 6, 6)
    assert (part["labels"].diagonal(dim1=2, dim2=3) == 1).all()  # a copy is drawn otherwise, of the same words
    assert part["names"].shape == (18, 4)
    assert part["lengths"].shape == (18,)
    assert len(part["embeds"]) == int(part["lengths"].sum())
    assert not torch.equal(part["patches"][0], part["patches"][1])


def test_batches_are_whole_families_by_number_and_nothing_else(folder: Path) -> None:
    data, again = (FamilyBatches(folder, CONFIG, batch_size=2 * FAMILY_SIZE, seed=0) for _ in range(2))
    assert data.num_batches == 2
    assert [data.num_samples(number) for number in range(4)] == [12, 6, 12, 6]
    later, sooner = data.batch(3), data.batch(0)
    same = again.batch(3)
    assert torch.equal(later.patches, same.patches)
    assert torch.equal(later.text.embeds, same.text.embeds)
    assert sooner.patches.shape == (12, 16, PATCH_CHANNELS)
    assert sooner.text.mask.any(1).all()
    assert (sooner.labels.diagonal() == 1).all()
    assert (sooner.labels[0, 1:6] == -1).all()


def test_of_other_families_names_and_numbers_decide() -> None:
    names = torch.tensor([[0, -1, -1], [0, 0, -1], [1, -1, -1], [1, 2, -1], [2, 1, -1]])
    might_pass = torch.eye(3, dtype=torch.bool)
    might_pass[0, 1] = might_pass[1, 0] = True
    assert labels_by_name(names, might_pass).tolist() == [
        [0, -1, 0, -1, -1],
        [-1, 0, -1, -1, -1],
        [0, -1, 0, -1, -1],
        [-1, -1, -1, 0, 0],
        [-1, -1, -1, 0, 0],
    ]


def test_an_epoch_has_every_family_once(folder: Path) -> None:
    data = FamilyBatches(folder, CONFIG, batch_size=FAMILY_SIZE, seed=0)
    assert data.num_batches == 3
    for epoch in range(2):
        assert sorted(int(data._chosen(3 * epoch + place)[0]) for place in range(3)) == [0, 1, 2]


def test_texts_stay_with_their_pictures(folder: Path) -> None:
    part = torch.load(folder / "families-0000.pt", weights_only=True)
    data = FamilyBatches(folder, CONFIG, batch_size=18, seed=0)
    batch, families = data.batch(0), data._chosen(0)
    ends = part["lengths"].cumsum(0)
    for row in range(18):
        scene = int(families[row // FAMILY_SIZE]) * FAMILY_SIZE + row % FAMILY_SIZE
        length = int(part["lengths"][scene])
        states = part["embeds"][int(ends[scene]) - length : int(ends[scene])].float()
        assert torch.equal(batch.text.embeds[row, :length], states)
        assert not batch.text.mask[row, length:].any()
        assert any(torch.equal(batch.patches[row], part["patches"][copy, scene].float()) for copy in range(2))


def test_statistics_standardise(folder: Path) -> None:
    data = FamilyBatches(folder, CONFIG, batch_size=18, seed=0)
    (mean, std), (text_mean, _) = data.statistics()
    part = torch.load(folder / "families-0000.pt", weights_only=True)
    rows = part["patches"][0].float().flatten(0, 1)
    torch.testing.assert_close(mean, rows.mean(0))
    torch.testing.assert_close(std, rows.std(0).clamp(min=1e-3))
    torch.testing.assert_close(text_mean, part["embeds"].float().mean(0))


def test_features_of_other_data_are_made_anew(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert json.loads((folder / "families.json").read_text())["seed"] == 4
    bank = load_bank("tiny")
    others = ((FamiliesConfig(num_families=3, num_position_families=0, seed=5), bank), (CONFIG, bank.subset(["cat"])))
    for number, (config, other) in enumerate(others):
        copy = shutil.copytree(folder, tmp_path / str(number))
        assert not check_families(config, other, copy)
        assert f"{copy} holds features of other data" in caplog.text
        assert not copy.exists()
    moved = replace(CONFIG, bank=str(bank.folder), names="a copy of the same names")
    assert check_families(moved, bank, folder)
    with pytest.raises(ConfigError, match="multiple of 6"):
        FamilyBatches(folder, CONFIG, batch_size=8, seed=0)
    with pytest.raises(ConfigError, match="within"):
        FamiliesConfig(reconstructed_share=1.5)
    with pytest.raises(ConfigError, match="at least 1"):
        FamiliesConfig(num_families=0)


def test_noise_on_the_latent_changes_its_own_picture_only(tiny_bundle: ModelBundle) -> None:
    pixels = to_unit([torch.full((32, 32, 3), 90, dtype=torch.uint8).numpy()] * 2)
    noise = torch.tensor([0.0, 1.0])
    out = reconstructed(pixels, tiny_bundle.autoencoder, noise, torch.Generator().manual_seed(0))
    plain = reconstructed(pixels, tiny_bundle.autoencoder, torch.zeros(2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(out[0], plain[0])
    assert not torch.allclose(out[1], plain[1], atol=1e-3)
