"""Phases of an autoencoder: which weights move, whom the discriminator judges, and runs from scenes and from files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.networks.dc_ae import DC_AE
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.sources.complete import find_autoencoder
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.features.batches import PixelBatch
from sanakit.features.configs import FilePictures
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.presets import DC_AE_PRESETS
from sanakit.training.objectives.patch_gan import PatchGANConfig
from sanakit.training.objectives.reconstruction import ReconstructionConfig
from sanakit.training.recipes.autoencoder.recipe import AutoencoderRecipe, stage_data
from sanakit.training.recipes.autoencoder.report import logs_of_stages
from sanakit.training.recipes.autoencoder.stage import (
    AdversarialLosses,
    AutoencoderStage,
    CountedDiscriminator,
    last_weight,
    set_trainable,
)
from sanakit.training.recipes.planning import fit, plan
from sanakit.training.recipes.train import train
from sanakit.training.run.run_config import CheckpointConfig, LogConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Watchers

SHAPE = stages((8, 16, 16, 16), (0, 1, 1, 1), scales=())
MODEL = DCAutoencoderConfig(
    encoder=SHAPE, decoder=SHAPE, latent_channels=4, head_dim=16, down="pixel_unshuffle", up="pixel_shuffle"
)
PLAIN = ReconstructionConfig(latent_weight=0.0)
GAN = PatchGANConfig(num_layers=1, channels=8)


def part(name: str = "only", **changes: Any) -> AutoencoderStage:
    settings: dict[str, Any] = {
        "resolution": 32,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "steps": 2,
        "warmup_steps": 0,
        "objective": PLAIN,
    }
    return AutoencoderStage(name=name, **{**settings, **changes})


def recipe(*parts: AutoencoderStage, **changes: Any) -> AutoencoderRecipe:
    settings: dict[str, Any] = {
        "model": MODEL,
        "precision": "fp32",
        "log": LogConfig(steps=1, report_to=()),
        "ema_decay": 0.0,
        "checkpoints": CheckpointConfig(minutes=None),
    }
    return AutoencoderRecipe(stages=parts, **{**settings, **changes})


def trained(given: AutoencoderRecipe, folder: Path, watchers: Watchers | None = None) -> DCAutoencoder:
    """What a run leaves, as it is read again."""
    train(given, folder, watchers=watchers)
    return load_network(find_autoencoder(folder / "model"), dtype=torch.float32)


@pytest.fixture
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sanakit.training.recipes.autoencoder.report.NUM_REPORT_SCENES", 2)
    monkeypatch.setattr("sanakit.training.recipes.autoencoder.recipe.NUM_SCALE_PICTURES", 6)


@pytest.mark.parametrize(
    ("part", "trained"),
    [
        ("all", {"encoder.", "decoder."}),
        ("middle", {"encoder.conv_out.", "decoder.conv_in."}),
        ("decoder", {"decoder."}),
        ("decoder_head", {"decoder.norm_out.", "decoder.conv_out."}),
    ],
)
@pytest.mark.parametrize("preset", ["dc-ae-f32c32-sana-1.0", "dc-ae-f32c32-in-1.0"])
def test_the_parts_that_learn(preset: str, part: Any, trained: set[str]) -> None:
    with torch.device("meta"):
        model = DCAutoencoder(DC_AE_PRESETS[preset])
    set_trainable(model, "decoder_head")
    set_trainable(model, part)
    for name, p in model.named_parameters():
        assert p.requires_grad == name.startswith(tuple(trained)), name
    norms = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(m.training == n.startswith(tuple(trained)) for n, m in norms)
    assert last_weight(model).requires_grad == (part != "middle")


def test_only_the_chosen_part_moves_and_the_scale_stays(tmp_path: Path, quick_report: None) -> None:
    start = DCAutoencoder(replace(MODEL, scaling_factor=0.7))
    save_network(DC_AE, start, tmp_path / "start")
    given = recipe(part(trainable="decoder_head"), init=str(tmp_path / "start"), model=None)
    finished = trained(given, tmp_path / "run")
    assert finished.config.scaling_factor == 0.7
    moved = {name for name, t in finished.state_dict().items() if not torch.equal(t, start.state_dict()[name])}
    assert moved == {name for name in start.state_dict() if name.startswith(("decoder.norm_out.", "decoder.conv_out."))}


def test_a_trained_encoder_has_its_scale_measured(tmp_path: Path, quick_report: None) -> None:
    finished = trained(recipe(part(crop=16), part("decoder", trainable="decoder")), tmp_path)
    whole = recipe(part(crop=None), part("decoder", trainable="decoder"))
    pixels = torch.cat([stage_data(whole, 0, 8).batch(n).pixels for n in range(3)])
    latent = finished.encoder(pixels).double()
    assert finished.config.scaling_factor == pytest.approx(1 / float(latent.square().mean().sqrt()), rel=1e-6)
    assert float(finished.encode(pixels).square().mean()) == pytest.approx(1, rel=1e-4)
    report = (tmp_path / "report.md").read_text()
    assert "PSNR" in report
    assert "stage decoder" in report
    assert Image.open(tmp_path / "reconstructions.png").size == (6 * 40 + 8, 6 * 40 + 8)
    logs = logs_of_stages(tmp_path / "log.jsonl", ["only", "decoder"])
    assert [(line["step"], line["samples"]) for line in logs["decoder"]] == [(1, 2), (2, 4)]


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for index in range(5):
        ramp = np.linspace(0, 255, 40 + 8 * index, dtype=np.uint8)
        pixels = np.stack(
            [
                np.tile(ramp, (40, 1)),
                np.full((40, len(ramp)), 40 * index, np.uint8),
                np.full((40, len(ramp)), 90, np.uint8),
            ],
            axis=-1,
        )
        Image.fromarray(pixels).save(folder / f"bild {index} ü.png")
    return folder


def test_a_folder_of_pictures_and_a_discriminator(tmp_path: Path) -> None:
    """Both networks learn; the discriminator's terms stand in the log under its name."""
    data = FilePictures(path=str(pictures(tmp_path / "pictures")))
    given = recipe(part(gan=GAN, trainable="decoder", steps=3), data=data)
    start = given.build_model("cpu").state_dict()
    finished = trained(given, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert {"l1", "adversarial", "gan_weight", "discriminator/loss", "discriminator/real"} <= set(line)
        assert line["discriminator/gradient_norm"] > 0
    assert all(torch.equal(t, start[n]) for n, t in finished.state_dict().items() if n.startswith("encoder."))
    assert "of those that it was trained on" in (tmp_path / "run/report.md").read_text()
    assert Image.open(tmp_path / "run/reconstructions.png").height > 40


class KilledError(Exception):
    pass


def test_a_phase_with_a_discriminator_continues_to_the_bit(tmp_path: Path, quick_report: None) -> None:
    """Killed in step 6 of 3 + 4, before the start step; the discriminator and its count come back."""
    late = replace(GAN, norm="spectral", start_step=3)
    given = recipe(
        part("first", steps=3),
        part("second", steps=4, gan=late, trainable="decoder", accumulation=2),
        checkpoints=CheckpointConfig(minutes=None, steps=2),
        ema_decay=0.9,
    )
    whole = trained(given, tmp_path / "whole")

    def stop(state: RunState, stage: str, progress: float) -> None:
        if state.step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        trained(given, tmp_path / "parts", Watchers(on_step=stop))
    parts = trained(given, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], tensor), name
    parted, unbroken = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("parts", "whole")
    )
    assert [("adversarial" in line) for line in parted] == [False] * 6 + [True]  # the last of the second stage
    for name in ("loss", "gradient_norm", "discriminator/loss"):
        assert [line.get(name) for line in parted] == [line.get(name) for line in unbroken]


class TestAdversarialLosses:
    """The two losses of a micro-batch, against each other."""

    def losses(
        self, gan: PatchGANConfig = GAN
    ) -> tuple[AdversarialLosses, DCAutoencoder, CountedDiscriminator, PixelBatch]:
        torch.manual_seed(0)
        model, discriminator = DCAutoencoder(MODEL), CountedDiscriminator(gan)
        set_trainable(model, "decoder")
        pixels = torch.rand(2, 3, 32, 32) * 2 - 1
        return AdversarialLosses(model, part(gan=gan), discriminator, None), model, discriminator, PixelBatch(pixels)

    def test_the_generators_turn_leaves_the_discriminator_alone(self) -> None:
        losses, model, discriminator, batch = self.losses()
        terms = losses.generator(batch, torch.Generator(), {})
        terms["loss"].backward()
        assert all(p.grad is None for p in discriminator.parameters())
        assert all(p.requires_grad for p in discriminator.parameters())
        assert all((p.grad is not None) == n.startswith("decoder.") for n, p in model.named_parameters())
        plain = terms["l1"] + terms["mse"] + 0.25 * terms["gradient"]
        torch.testing.assert_close(terms["loss"], plain + 0.5 * terms["adversarial"])

    def test_the_discriminator_judges_what_was_handed_on_in_the_generators_turn(self) -> None:
        losses, model, discriminator, batch = self.losses()
        made: dict[str, Tensor] = {}
        losses.generator(batch, torch.Generator(), made)
        with torch.no_grad():
            expected = discriminator(model.decoder(model.encoder(batch.pixels))).mean()
            last_weight(model).zero_()  # the generator's step
        terms = losses.discriminator(batch, torch.Generator(), made)
        torch.testing.assert_close(terms["made"], expected)
        terms["loss"].backward()
        assert all(p.grad is not None for p in discriminator.parameters())
        assert all(p.grad is None for p in model.parameters())
        assert int(discriminator.seen) == 1

    def test_before_its_start_the_discriminator_is_not_asked(self) -> None:
        losses, _, discriminator, batch = self.losses(replace(GAN, start_step=2))
        for step in range(4):
            made: dict[str, Tensor] = {}
            assert ("adversarial" in losses.generator(batch, torch.Generator(), made)) == (step >= 2)
            losses.discriminator(batch, torch.Generator(), made)
        assert int(discriminator.seen) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stages": ()}, "at least one stage"),
        ({"stages": (part(), part())}, "names of their own"),
        ({"stages": (part(crop=20),)}, "20 px is no multiple of 8"),
        ({"stages": (part(),), "init": "starter"}, "one of the two"),
        ({"stages": (part(),), "model": None}, "one of the two"),
        ({"stages": (part(gan=GAN),), "parallel": "fsdp"}, "fsdp does not go together"),
    ],
    ids=str,
)
def test_recipes_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    settings = {"model": MODEL, **wrong}
    with pytest.raises(ConfigError, match=message):
        AutoencoderRecipe(**settings)


def test_an_adaptive_weight_needs_the_last_layer() -> None:
    with pytest.raises(ConfigError, match="adaptive"):
        part(trainable="middle", gan=replace(GAN, adaptive=True))


def test_what_a_run_leaves_is_opened_by_diffusers(tmp_path: Path, quick_report: None) -> None:
    """And what a run of 0.1.0 left is refused with what to do."""
    ours = trained(recipe(part()), tmp_path)
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.AutoencoderDC.from_pretrained(tmp_path / "model")
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(theirs.encode(pixels).latent, ours.encoder(pixels), rtol=1e-4, atol=1e-5)
    assert theirs.config.scaling_factor == pytest.approx(ours.config.scaling_factor)
    with pytest.raises(CheckpointError, match="give the command of that run again"):
        recipe(part(), init=str(tmp_path / "autoencoder.pt"), model=None).build_model("cpu")


def test_the_published_weights_can_be_begun_with() -> None:
    """The starter's own autoencoder stands for them: it is read by the same loader."""
    given = recipe(part(), init="starter", model=None)
    model = given.build_model("cpu")
    assert model.config.compression == 16
    assert next(model.parameters()).dtype == torch.float32


def test_every_phase_is_planned_and_made_to_fit() -> None:
    """The middle needs next to no gradients; half the memory is found in smaller micro-batches first."""
    given = recipe(part("all"), part("middle", trainable="middle", batch_size=4, gan=GAN))
    full, middle = plan(given, "cpu")
    model = given.build_model("cpu")
    discriminator = sum(p.numel() for p in CountedDiscriminator(GAN).parameters())
    trained = sum(p.numel() for part in (model.encoder.conv_out, model.decoder.conv_in) for p in part.parameters())
    assert full.gradients == full.weights == 4 * sum(p.numel() for p in model.parameters())
    assert middle.gradients == 4 * (trained + discriminator)
    fitted = fit(given, middle.total - 1, "cpu")
    assert fitted.stages[1] == replace(given.stages[1], batch_size=2, accumulation=2)
    assert (fitted.precision, fitted.activation_checkpointing) == ("fp32", False)
