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

from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.features.batches import PixelBatch
from sanakit.features.configs import FilePictures
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.presets import DC_AE_PRESETS
from sanakit.training.loop import Watchers
from sanakit.training.objectives.patch_gan import PatchGANConfig
from sanakit.training.objectives.reconstruction import ReconstructionConfig
from sanakit.training.recipes.autoencoder.plan import fit_autoencoder, plan_autoencoder
from sanakit.training.recipes.autoencoder.recipe import (
    AutoencoderRecipe,
    build_model,
    load_autoencoder,
    save_autoencoder,
    train_autoencoder,
)
from sanakit.training.recipes.autoencoder.report import logs_of_phases
from sanakit.training.recipes.autoencoder.stage import (
    AdversarialLosses,
    AutoencoderPhase,
    CountedDiscriminator,
    last_weight,
    set_trainable,
)
from sanakit.training.run.run_config import CheckpointConfig, LogConfig
from sanakit.training.run.run_state import RunState

SHAPE = stages((8, 16, 16, 16), (0, 1, 1, 1), scales=())
MODEL = DCAutoencoderConfig(
    encoder=SHAPE, decoder=SHAPE, latent_channels=4, head_dim=16, down="pixel_unshuffle", up="pixel_shuffle"
)
PLAIN = ReconstructionConfig(latent_weight=0.0)
GAN = PatchGANConfig(num_layers=1, channels=8)


def phase(name: str = "only", **changes: Any) -> AutoencoderPhase:
    settings: dict[str, Any] = {
        "resolution": 32,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "steps": 2,
        "warmup_steps": 0,
        "objective": PLAIN,
    }
    return AutoencoderPhase(name=name, **{**settings, **changes})


def recipe(*phases: AutoencoderPhase, **changes: Any) -> AutoencoderRecipe:
    settings: dict[str, Any] = {
        "model": MODEL,
        "precision": "fp32",
        "log": LogConfig(steps=1, report_to=()),
        "ema_decay": 0.0,
        "checkpoints": CheckpointConfig(minutes=None),
    }
    return AutoencoderRecipe(phases=phases, **{**settings, **changes})


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
    save_autoencoder(start, tmp_path / "start.pt")
    plan = recipe(phase(trainable="decoder_head"), init=str(tmp_path / "start.pt"), model=None)
    finished = train_autoencoder(plan, tmp_path / "run")
    assert finished.config.scaling_factor == 0.7
    moved = {name for name, t in finished.state_dict().items() if not torch.equal(t, start.state_dict()[name])}
    assert moved == {name for name in start.state_dict() if name.startswith(("decoder.norm_out.", "decoder.conv_out."))}
    assert all(map(torch.equal, load_autoencoder(tmp_path / "run/autoencoder.pt").parameters(), finished.parameters()))


def test_a_trained_encoder_has_its_scale_measured(tmp_path: Path, quick_report: None) -> None:
    finished = train_autoencoder(recipe(phase(crop=16), phase("decoder", trainable="decoder")), tmp_path)
    from sanakit.training.recipes.autoencoder.recipe import phase_data

    whole = recipe(phase(crop=None), phase("decoder", trainable="decoder"))
    pixels = torch.cat([phase_data(whole, 0, 8).batch(n).pixels for n in range(3)])
    latent = finished.encoder(pixels).double()
    assert finished.config.scaling_factor == pytest.approx(1 / float(latent.square().mean().sqrt()), rel=1e-6)
    assert float(finished.encode(pixels).square().mean()) == pytest.approx(1, rel=1e-4)
    report = (tmp_path / "report.md").read_text()
    assert "PSNR" in report
    assert "phase decoder" in report
    assert Image.open(tmp_path / "reconstructions.png").size == (6 * 40 + 8, 6 * 40 + 8)
    logs = logs_of_phases(tmp_path / "log.jsonl", ["only", "decoder"])
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
    plan = recipe(phase(gan=GAN, trainable="decoder", steps=3), data=data)
    start = build_model(plan, "cpu").state_dict()
    finished = train_autoencoder(plan, tmp_path / "run")
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
    plan = recipe(
        phase("first", steps=3),
        phase("second", steps=4, gan=late, trainable="decoder", accumulation=2),
        checkpoints=CheckpointConfig(minutes=None, steps=2),
        ema_decay=0.9,
    )
    whole = train_autoencoder(plan, tmp_path / "whole")

    def stop(state: RunState, stage: str, progress: float) -> None:
        if state.step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train_autoencoder(plan, tmp_path / "parts", watchers=Watchers(on_step=stop))
    parts = train_autoencoder(plan, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], tensor), name
    parted, unbroken = (
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("parts", "whole")
    )
    assert [("adversarial" in line) for line in parted] == [False] * 6 + [True]  # the last of the second phase
    for name in ("loss", "gradient_norm", "discriminator/loss"):
        assert [line.get(name) for line in parted] == [line.get(name) for line in unbroken]


class TestContest:
    """The two losses of a micro-batch, against each other."""

    def losses(
        self, gan: PatchGANConfig = GAN
    ) -> tuple[AdversarialLosses, DCAutoencoder, CountedDiscriminator, PixelBatch]:
        torch.manual_seed(0)
        model, discriminator = DCAutoencoder(MODEL), CountedDiscriminator(gan)
        set_trainable(model, "decoder")
        pixels = torch.rand(2, 3, 32, 32) * 2 - 1
        return AdversarialLosses(model, phase(gan=gan), discriminator, None), model, discriminator, PixelBatch(pixels)

    def test_the_generators_turn_leaves_the_discriminator_alone(self) -> None:
        losses, model, discriminator, batch = self.losses()
        terms = losses.generator(batch, torch.Generator())
        terms["loss"].backward()
        assert all(p.grad is None for p in discriminator.parameters())
        assert all(p.requires_grad for p in discriminator.parameters())
        assert all((p.grad is not None) == n.startswith("decoder.") for n, p in model.named_parameters())
        plain = terms["l1"] + terms["mse"] + 0.25 * terms["gradient"]
        torch.testing.assert_close(terms["loss"], plain + 0.5 * terms["adversarial"])

    def test_the_discriminator_judges_what_was_made_in_the_generators_turn(self) -> None:
        losses, model, discriminator, batch = self.losses()
        losses.generator(batch, torch.Generator())
        with torch.no_grad():
            made = discriminator(model.decoder(model.encoder(batch.pixels))).mean()
            last_weight(model).zero_()  # the generator's step
        for expected in (
            made,
            discriminator(torch.zeros_like(batch.pixels) + bias(model)).mean(),
        ):  # out of turn: as it is now
            terms = losses.discriminator(batch, torch.Generator())
            torch.testing.assert_close(terms["made"], expected.detach())
        terms["loss"].backward()
        assert all(p.grad is not None for p in discriminator.parameters())
        assert all(p.grad is None for p in model.parameters())
        assert int(discriminator.seen) == 2

    def test_before_its_start_the_discriminator_is_not_asked(self) -> None:
        losses, _, discriminator, batch = self.losses(replace(GAN, start_step=2))
        for step in range(4):
            assert ("adversarial" in losses.generator(batch, torch.Generator())) == (step >= 2)
            losses.discriminator(batch, torch.Generator())
        assert int(discriminator.seen) == 4


def bias(model: DCAutoencoder) -> Tensor:
    """What the last layer makes of anything once its weights are zero: four pixels of each of three channels."""
    last = model.decoder.conv_out.conv.bias  # type: ignore[union-attr]
    return torch.nn.functional.pixel_shuffle(last[None, :, None, None].expand(1, 12, 16, 16), 2)  # type: ignore[index]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"phases": ()}, "at least one phase"),
        ({"phases": (phase(), phase())}, "names of their own"),
        ({"phases": (phase(crop=20),)}, "20 px is no multiple of 8"),
        ({"phases": (phase(),), "init": "starter"}, "one of the two"),
        ({"phases": (phase(),), "model": None}, "one of the two"),
        ({"phases": (phase(gan=GAN),), "parallel": "fsdp"}, "fsdp does not go together"),
    ],
    ids=str,
)
def test_recipes_that_cannot_work_are_refused(wrong: dict[str, Any], message: str) -> None:
    settings = {"model": MODEL, **wrong}
    with pytest.raises(ConfigError, match=message):
        AutoencoderRecipe(**settings)


def test_an_adaptive_weight_needs_the_last_layer() -> None:
    with pytest.raises(ConfigError, match="adaptive"):
        phase(trainable="middle", gan=replace(GAN, adaptive=True))


def test_files_that_are_no_autoencoder(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"config": "{}", "model": {}}, tmp_path / "empty.pt")
    for name in ("text.pt", "empty.pt", "missing.pt"):
        with pytest.raises(CheckpointError, match=name):
            load_autoencoder(tmp_path / name)


def test_the_published_weights_can_be_begun_with() -> None:
    """The starter's own autoencoder stands for them: it is read by the same loader."""
    plan = recipe(phase(), init="starter", model=None)
    model = build_model(plan, "cpu")
    assert model.config.compression == 16
    assert next(model.parameters()).dtype == torch.float32


def test_every_phase_is_planned_and_made_to_fit() -> None:
    """The middle needs next to no gradients; half the memory is found in smaller micro-batches first."""
    plan = recipe(phase("all"), phase("middle", trainable="middle", batch_size=4, gan=GAN))
    full, middle = plan_autoencoder(plan, device="cpu")
    model = build_model(plan, "cpu")
    discriminator = sum(p.numel() for p in CountedDiscriminator(GAN).parameters())
    trained = sum(p.numel() for part in (model.encoder.conv_out, model.decoder.conv_in) for p in part.parameters())
    assert full.gradients == full.weights == 4 * sum(p.numel() for p in model.parameters())
    assert middle.gradients == 4 * (trained + discriminator)
    fitted = fit_autoencoder(plan, middle.total - 1, device="cpu")
    assert fitted.phases[1] == replace(plan.phases[1], batch_size=2, accumulation=2)
    assert (fitted.precision, fitted.activation_checkpointing) == ("fp32", False)
