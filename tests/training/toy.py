"""Runs in miniature: a small network or a small transformer, numbered samples, and the whole loop around them.

As a script: ``toy.py FOLDER '{"steps": 9, ...}'`` trains in ``FOLDER`` with the settings of ``Settings``, under a
torchrun-like environment or alone, prints each step, and writes the keys of all samples it takes to ``FOLDER/keys-R``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sanakit.common.config import from_mapping
from sanakit.common.ranks import process_group
from sanakit.features.batches import LatentBatch, PixelBatch
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.autoencoders.dc_ae_config import stages as network_stages
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.loop import RunResult, run_stages
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, flow_matching_loss
from sanakit.training.objectives.reconstruction import ReconstructionConfig, reconstruction_loss
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig, MuonConfig, OptimizerConfig
from sanakit.training.recipes.autoencoder.weights import new_autoencoder
from sanakit.training.recipes.sprint.distillation import Distillation
from sanakit.training.recipes.sprint.recipe import SprintRecipe
from sanakit.training.recipes.transformer.initialization import initialize_
from sanakit.training.run.run_config import CheckpointConfig, LogConfig, RunConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session, Watchers
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import Loss, Made, PlannedStage, Stage, Trainee
from sanakit.training.watching.report import read_log

TOY_DIT = LinearDiTConfig(
    hidden_size=32,
    num_layers=2,
    head_dim=8,
    cross_head_dim=8,
    in_channels=2,
    out_channels=2,
    caption_channels=4,
    interpolation_scale=1.0,
    sample_size=4,
    qk_norm=True,
)
OPTIMIZERS: dict[str, OptimizerConfig] = {
    "adamw": AdamWConfig(weight_decay=0.01),
    "muon": MuonConfig(),
    "came": CAMEConfig(),
    "came8bit": CAME8BitConfig(min_8bit_size=16),
}
STAGE = StageConfig(name="only", batch_size=4, learning_rate=0.02, steps=10, warmup_steps=3, decay=0.5)
Taken = Callable[[int, list[int]], None]


@dataclass(frozen=True, slots=True)
class ToyBatch:
    keys: Tensor
    x: Tensor

    def to(self, device: str) -> ToyBatch:
        return ToyBatch(self.keys.to(device), self.x.to(device))


class ToyData:
    """An endless stream of micro-batches over numbered samples, of which the last one of an epoch may be smaller.

    Args:
        taken: is told number and keys of each micro-batch that is made.
    """

    def __init__(self, num_samples: int, batch_size: int, seed: int = 0, taken: Taken | None = None) -> None:
        self.num_samples_in_all, self.batch_size, self.seed, self.taken = num_samples, batch_size, seed, taken
        self.num_batches: int | None = -(-num_samples // batch_size)

    def keys(self, number: int) -> list[int]:
        assert self.num_batches is not None
        epoch, index = divmod(number, self.num_batches)
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples_in_all)
        return order[index * self.batch_size : (index + 1) * self.batch_size].tolist()

    def num_samples(self, number: int) -> int:
        return len(self.keys(number))

    def batch(self, number: int) -> ToyBatch:
        keys = self.keys(number)
        if self.taken is not None:
            self.taken(number, keys)
        return ToyBatch(torch.tensor(keys), torch.stack([sample(key) for key in keys]))


class ToyLatents(ToyData):
    """The same for a transformer: latents ``(B, 2, 4, 4)`` and one token of text."""

    def batch(self, number: int) -> LatentBatch:  # type: ignore[override]
        keys = super().batch(number).keys
        latent = torch.stack([torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(int(k))) for k in keys])
        text = TextCondition(torch.eye(4)[keys % 4][:, None], torch.ones(len(keys), 1, dtype=torch.bool))
        return LatentBatch(latent, text)


class ToyPixels(ToyData):
    """The same for an autoencoder: pictures ``(B, 3, 16, 16)``."""

    def batch(self, number: int) -> PixelBatch:  # type: ignore[override]
        keys = self.keys(number)
        pixels = torch.stack([torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(k)) for k in keys])
        return PixelBatch(pixels * 2 - 1)


def sample(key: int) -> Tensor:
    return torch.randn(3, generator=torch.Generator().manual_seed(key))


class Blocks(nn.Module):
    """Matrices inside of blocks, which Muon takes, and nothing that computes in float32 when all else is wider."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 9), nn.Linear(9, 9)])
        self.head = nn.Linear(9, 1)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x).tanh()
        return self.head(x)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def toy_loss(model: nn.Module, *, noise: float = 0.1) -> Loss:
    """Fit a fixed function from noisy inputs."""

    def loss(batch: ToyBatch, generator: torch.Generator, made: Made) -> dict[str, Tensor]:
        x = batch.x + noise * torch.randn(batch.x.shape, generator=generator)
        error = (model(x) - batch.x.prod(-1, keepdim=True)).square().mean(-1)
        sigma = torch.linspace(0.05, 0.95, len(error))
        return {"loss": error.mean(), "twice": 2 * error.mean(), "per_sample": error.detach(), "sigma": sigma}

    return loss


def toy_config(**changes: Any) -> RunConfig:
    settings: dict[str, Any] = {
        "precision": "fp32",
        "ema_decay": 0.9,
        "log": LogConfig(steps=1, report_to=()),
        "checkpoints": CheckpointConfig(minutes=None),
    }
    return RunConfig(**{**settings, **changes})


def train_in(
    stages: Sequence[PlannedStage], config: RunConfig, folder: Path, *, watchers: Watchers | None = None
) -> RunResult:
    return run_stages(stages, Session(config=config, folder=folder, watchers=watchers or Watchers()))


def curve(folder: Path, name: str) -> list[float]:
    """An entry of every line of a run's log."""
    return [line[name] for line in read_log(folder / "log.jsonl")]


def toy_stage(
    model: nn.Module,
    config: StageConfig,
    *,
    optimizer: OptimizerConfig | None = None,
    num_samples: int = 22,
    seed: int = 0,
    taken: Taken | None = None,
    loss: Any = None,
    keep_optimizer: bool = True,
) -> PlannedStage:
    trainee = Trainee("toy", model, loss or toy_loss(model), optimizer or AdamWConfig())
    data = ToyData(num_samples, config.batch_size, seed, taken)
    return PlannedStage(config, lambda check: Stage(config, Prefetched(data), (trainee,), keep_optimizer))


def flow_loss(model: LinearDiT) -> Loss:
    """Flow matching as SANA draws its noise levels."""

    def loss(batch: LatentBatch, generator: torch.Generator, made: Made) -> dict[str, Tensor]:
        prepared = model.prepare(batch.text)
        return flow_matching_loss(
            lambda noisy, timestep: model(noisy, timestep, prepared),
            batch.latent,
            generator,
            config=FlowMatchingConfig(),
        )

    return loss


def dit_stage(model: LinearDiT, config: StageConfig, *, optimizer: OptimizerConfig, noiseless: bool) -> PlannedStage:
    """A transformer; ``noiseless`` takes each sample's noise from the sample, so that micro-batches do not matter."""

    def without_noise(batch: LatentBatch, generator: torch.Generator, made: Made) -> dict[str, Tensor]:
        noise, sigma = batch.latent.flip(-1), torch.full((len(batch.latent),), 0.5)
        velocity = model((batch.latent + noise) / 2, 1000 * sigma, model.prepare(batch.text))
        return {"loss": (velocity - (noise - batch.latent)).square().mean()}

    loss = without_noise if noiseless else flow_loss(model)
    trainee = Trainee("transformer", model, loss, optimizer)
    return PlannedStage(
        config, lambda check: Stage(config, Prefetched(ToyLatents(24, config.batch_size)), (trainee,), True)
    )


def sprint_stage(config: StageConfig) -> tuple[nn.Module, PlannedStage]:
    """A student, its teacher and its judge; the judge's norms see one micro-batch."""
    teacher = LinearDiT(replace(TOY_DIT, timestep_scale=0.001))
    initialize_(teacher, torch.Generator().manual_seed(0))
    settings = {"init": "starter", "data": {"type": "scenes", "bank": "tiny"}, "objective": {"tangent_warmup": 4}}
    stage = {"name": "distil", "resolutions": [128], "batch_size": 4, "learning_rate": 1e-3, "steps": 1}
    distillation = Distillation(teacher, from_mapping(SprintRecipe, settings | {"stages": [stage]}))
    trainees = distillation.trainees(TextCondition(torch.zeros(1, 1, 4), torch.ones(1, 1, dtype=torch.bool)))
    data = ToyLatents(24, config.batch_size)
    return distillation.student, PlannedStage(config, lambda check: Stage(config, Prefetched(data), trainees, True))


def autoencoder_stage(config: StageConfig) -> tuple[DCAutoencoder, PlannedStage]:
    """An autoencoder, channels last as the recipes have it."""
    shape = network_stages((8, 16, 16), (1, 1, 1), num_res=2)
    model = new_autoencoder(DCAutoencoderConfig(encoder=shape, decoder=shape, latent_channels=4, head_dim=16), seed=0)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(batch: PixelBatch, generator: torch.Generator, made: Made) -> dict[str, Tensor]:
        return reconstruction_loss(model, batch.pixels, generator, config=ReconstructionConfig())

    trainee = Trainee("generator", model, loss, AdamWConfig())
    return model, PlannedStage(config, lambda check: Stage(config, Prefetched(ToyPixels(24, 4)), (trainee,), True))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run as a script does; ``pause`` seconds per step give others time to kill it."""

    steps: int = 9
    batch_size: int = 4
    accumulation: int = 1
    num_samples: int = 22
    seed: int = 0
    epochs: float | None = None
    save_steps: int = 2
    optimizer: str = "adamw"
    model: str = "toy"
    sharded: bool = False
    pause: float = 0.0
    log_steps: int = 1


def run_float64(folder: Path, names: Sequence[str], *, accumulation: int = 1, sharded: bool = False) -> None:
    """A run of six steps in ``folder / name`` with each of these optimisers, all in float64 and without noise."""
    with process_group() as ranks:
        for name in names:
            torch.manual_seed(5)
            model = Blocks().double()

            def loss(batch: ToyBatch, generator: Any, made: Made, model: nn.Module = model) -> dict[str, Tensor]:
                x = batch.x.double()
                return {"loss": (model(x) - x.prod(-1, keepdim=True)).square().mean()}

            stage_config = StageConfig(
                name=name, batch_size=3, accumulation=accumulation, steps=6, learning_rate=0.02, warmup_steps=2
            )
            stage = toy_stage(model, stage_config, optimizer=OPTIMIZERS[name], num_samples=11, loss=loss)
            config = toy_config(gradient_clip=0.05)
            run_stages([stage], Session(config=config, folder=folder / name, ranks=ranks, sharded=sharded))


def run(folder: Path, settings: Settings) -> tuple[nn.Module, RunResult]:
    """Two stages, the second with another batch size and rate; or a transformer alone."""
    with process_group() as ranks:
        keys = folder.with_name(f"{folder.name}-keys-{ranks.rank}")

        def note(number: int, samples: list[int]) -> None:
            with keys.open("a") as file:
                file.write(json.dumps([number, samples]) + "\n")

        def on_step(state: RunState, stage: str, progress: float) -> None:
            print(state.step, flush=True)
            time.sleep(settings.pause)

        length: dict[str, Any] = {"steps": None} if settings.epochs else {"steps": settings.steps}
        first = StageConfig(
            name="first",
            batch_size=settings.batch_size,
            accumulation=settings.accumulation,
            epochs=settings.epochs,
            learning_rate=0.02,
            warmup_steps=3,
            decay=0.5,
            **length,
        )
        optimizer = OPTIMIZERS[settings.optimizer]
        torch.manual_seed(ranks.rank)  # different weights: the first process's must become everybody's
        if settings.model == "dit":
            transformer = LinearDiT(TOY_DIT)
            initialize_(transformer, torch.Generator().manual_seed(ranks.rank))
            model: nn.Module = transformer
            stages = [dit_stage(transformer, replace(first, learning_rate=1e-3), optimizer=optimizer, noiseless=True)]
        elif settings.model == "sprint":
            model, stage = sprint_stage(replace(first, learning_rate=1e-3))
            stages = [stage]
        elif settings.model == "autoencoder":
            model, stage = autoencoder_stage(first)
            stages = [stage]
        else:
            model = network(ranks.rank)
            second = StageConfig(name="second", batch_size=3, learning_rate=0.01, steps=4, warmup_steps=1)
            build = {"optimizer": optimizer, "num_samples": settings.num_samples, "seed": settings.seed, "taken": note}
            stages = [toy_stage(model, first, **build)]
            stages += [] if settings.epochs else [toy_stage(model, second, **build)]
        config = toy_config(
            seed=settings.seed,
            log=LogConfig(steps=settings.log_steps, report_to=()),
            checkpoints=CheckpointConfig(minutes=None, steps=settings.save_steps),
        )
        session = Session(
            config=config, folder=folder, ranks=ranks, sharded=settings.sharded, watchers=Watchers(on_step=on_step)
        )
        result = run_stages(stages, session)
    return model, result


if __name__ == "__main__":
    given = json.loads(sys.argv[2])
    if isinstance(given, list):
        run_float64(Path(sys.argv[1]), given, sharded=True)
    else:
        run(Path(sys.argv[1]), Settings(**given))
