"""The stored loss curve of each objective: a toy model, a fixed seed, float64 on the CPU, through the real loop.

A change of any formula, default or order of random numbers moves a curve. In float64 the number of threads does not:
rounding, which differs with it, stays far below what is compared. After a change that is meant, print and keep the new
curves with:

    python tests/training/test_stored_curves.py --write
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.features.batches import LatentBatch, PixelBatch
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.loop import run_stages
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, flow_matching_loss
from sanakit.training.objectives.patch_gan import PatchGANConfig
from sanakit.training.objectives.perceptual import Perceptual
from sanakit.training.objectives.reconstruction import ReconstructionConfig
from sanakit.training.optimizers.config import AdamWConfig
from sanakit.training.recipes.autoencoder.recipe import AutoencoderRecipe, build_trainees
from sanakit.training.recipes.autoencoder.stage import AutoencoderStage, set_trainable
from sanakit.training.recipes.autoencoder.weights import new_autoencoder
from sanakit.training.recipes.transformer.initialization import initialize_
from sanakit.training.run.run_config import CheckpointConfig, LogConfig, RunConfig
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import Made, PlannedStage, Stage, Trainee

STORED = Path(__file__).with_name("stored_curves.json")
EVERY = {"log": LogConfig(steps=5, report_to=()), "checkpoints": CheckpointConfig(minutes=None), "precision": "fp32"}
NUM_STEPS = 40
SHAPE = stages((8, 16, 16), (1, 1, 1), num_res=2)  # 4x smaller sides, attention at the bottom
MODEL = DCAutoencoderConfig(encoder=SHAPE, decoder=SHAPE, latent_channels=4, head_dim=16)


class Fixed:
    """The same micro-batches again and again."""

    def __init__(self, batches: Sequence[object]) -> None:
        self._batches = batches
        self.num_batches = len(batches)

    def num_samples(self, number: int) -> int:
        return 4

    def batch(self, number: int) -> object:
        return self._batches[number % len(self._batches)]


class Edges(nn.Module):
    """A feature network of two fixed random layers, smooth: where all of ReLU's channels are nearly off, a unit vector
    turns at the last bit.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.first = torch.randn(6, 3, 3, 3, generator=generator, dtype=torch.float64)
        self.second = torch.randn(8, 6, 3, 3, generator=generator, dtype=torch.float64)

    def stages(self, pixels: Tensor) -> list[Tensor]:
        low = F.conv2d(pixels, self.first, padding=1).tanh()
        return [low, F.conv2d(low, self.second, stride=2, padding=1).tanh()]


def pictures() -> list[PixelBatch]:
    """Eight discs of a colour on a ground of another one, ``(3, 16, 16)`` each."""
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    drawn = []
    for _ in range(8):
        centre, colours = 4 + 8 * torch.rand(2, generator=generator), torch.rand(2, 3, generator=generator) * 2 - 1
        inside = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 16).double()
        drawn.append(colours[0, :, None, None] * inside + colours[1, :, None, None] * (1 - inside))
    return [PixelBatch(torch.stack(drawn[:4]).double()), PixelBatch(torch.stack(drawn[4:]).double())]


def curve(stage: PlannedStage, config: RunConfig, keys: Sequence[str]) -> dict[str, list[float]]:
    with TemporaryDirectory() as folder:
        run_stages([stage], Session(config=config, folder=Path(folder)))
        lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return {key: [line[key] for line in lines if key in line] for key in keys}


def flow_matching() -> dict[str, list[float]]:
    model = LinearDiT(LinearDiTConfig(
        hidden_size=32, num_layers=2, head_dim=8, cross_head_dim=8, in_channels=2, out_channels=2, caption_channels=4,
        interpolation_scale=1.0, sample_size=4,
    ))  # fmt: skip
    initialize_(model, torch.Generator().manual_seed(0))
    model.double()
    latent = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    text = TextCondition(torch.eye(4)[:, None].double(), torch.ones(4, 1, dtype=torch.bool))

    def loss(batch: LatentBatch, generator: torch.Generator, made: Made) -> dict[str, Tensor]:
        prepared = model.prepare(batch.text)
        return flow_matching_loss(
            lambda noisy, timestep: model(noisy, timestep, prepared),
            batch.latent,
            generator,
            config=FlowMatchingConfig(),
        )

    config = StageConfig(name="toy", batch_size=4, learning_rate=1e-2, steps=NUM_STEPS, warmup_steps=5)
    trainee = Trainee("transformer", model, loss, AdamWConfig())
    stage = Stage(config, Prefetched(Fixed([LatentBatch(latent, text)])), (trainee,), keep_optimizer=False)
    return curve(PlannedStage(config, lambda check: stage), RunConfig(**EVERY), ["loss", "gradient_norm"])


def autoencoder(config: AutoencoderStage, perceptual: Perceptual | None, keys: Sequence[str]) -> dict[str, list[float]]:
    model = new_autoencoder(MODEL, seed=0).double()
    set_trainable(model, config.trainable)
    recipe = AutoencoderRecipe(model=MODEL, stages=(config,), **EVERY)
    trainees = build_trainees(recipe, 0, model, perceptual, "cpu")
    for trainee in trainees:
        trainee.model.double()
    stage = Stage(config, Prefetched(Fixed(pictures())), trainees, keep_optimizer=False)
    return curve(PlannedStage(config, lambda check: stage), recipe, keys)


def reconstruction() -> dict[str, list[float]]:
    config = AutoencoderStage(
        name="toy",
        resolution=16,
        batch_size=4,
        learning_rate=5e-3,
        steps=NUM_STEPS,
        warmup_steps=5,
        objective=ReconstructionConfig(gradient_weight=0.25, latent_noise=0.05),
    )
    return autoencoder(config, None, ["loss", "l1", "gradient", "latent", "gradient_norm"])


def perceptual_and_gan() -> dict[str, list[float]]:
    """The decoder alone, against a discriminator that it listens to from step 10 on, with the adaptive weight."""
    config = AutoencoderStage(
        name="toy",
        resolution=16,
        batch_size=4,
        learning_rate=2e-3,
        steps=NUM_STEPS,
        warmup_steps=5,
        trainable="decoder",
        optimizer=AdamWConfig(betas=(0.5, 0.9)),
        objective=ReconstructionConfig(mse_weight=0.0, gradient_weight=0.0, latent_weight=0.0, perceptual_weight=0.25),
        gan=PatchGANConfig(num_layers=1, channels=8, start_step=10, adaptive=True),
    )
    keys = ["loss", "l1", "perceptual", "adversarial", "gan_weight", "discriminator/loss"]
    return autoencoder(config, Perceptual(Edges()), keys)


CURVES: dict[str, Callable[[], dict[str, list[float]]]] = {
    "flow_matching": flow_matching,
    "reconstruction": reconstruction,
    "perceptual_and_gan": perceptual_and_gan,
}


@pytest.mark.parametrize("name", CURVES)
def test_the_curve_is_the_stored_one(name: str) -> None:
    stored = json.loads(STORED.read_text())[name]
    found = CURVES[name]()
    assert set(found) == set(stored)
    for key, values in stored.items():
        assert found[key] == pytest.approx(values, rel=1e-6), f"{name} {key}: {found[key]}"
    assert found["loss"][-1] < 0.8 * found["loss"][0]
    assert found.get("l1", [1, 0])[-1] < found.get("l1", [1, 0])[0]


def main() -> None:
    curves = {name: {k: [float(f"{v:.10g}") for v in vs] for k, vs in make().items()} for name, make in CURVES.items()}
    print(json.dumps(curves, indent=1))
    if "--write" in sys.argv:
        STORED.write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    main()
