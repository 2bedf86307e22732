"""Training the dual encoder that scores the starter's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError
from sanakit.common.ranks import wait_for_all
from sanakit.features.scenes import identity_of_scenes, open_bank
from sanakit.models.dual_encoder import DualEncoder, DualEncoderConfig
from sanakit.scoring.dual_encoder import (
    GRID,
    PATCH_CHANNELS,
    PictureReader,
    load_scorer_text_encoder,
    save_dual_encoder,
)
from sanakit.training.loop import RunResult
from sanakit.training.objectives.siglip import siglip_loss, within_families_loss
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.dual_encoder.families import FAMILY_SIZE, FamiliesConfig, FamilyCache, check_families
from sanakit.training.recipes.dual_encoder.family_batches import FamilyBatches, PairBatch
from sanakit.training.recipes.dual_encoder.report import report_dual_encoder, starter_autoencoder
from sanakit.training.recipes.recipe import Recipe, Run
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import CheckData, Made, PlannedStage, Stage, Trainee
from sanakit.worlds.banks.bank import Bank


@dataclass(frozen=True, kw_only=True, slots=True)
class DualEncoderRecipe(Recipe):
    """What is trained and on what; the random draws follow from ``seed`` and ``data.seed``."""

    type: Literal["dual_encoder"] = "dual_encoder"
    model: DualEncoderConfig
    data: FamiliesConfig = field(default_factory=FamiliesConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[StageConfig, ...]
    report: bool = True  # score on held-out scenes and draw 160 pictures at the end; some minutes

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)
        if (self.model.num_patches, self.model.picture_channels) != (GRID**2, PATCH_CHANNELS):
            raise ConfigError(
                f"model.num_patches={self.model.num_patches} and model.picture_channels={self.model.picture_channels} "
                f"must be {GRID**2} and {PATCH_CHANNELS}: what EfficientNet-Lite0 makes of a picture"
            )
        for stage in self.stages:
            if stage.batch_size % FAMILY_SIZE:
                raise ConfigError(f"stage {stage.name}: batch_size={stage.batch_size} must be a multiple of 6")

    @property
    def only_whole(self) -> str:
        return "a dual encoder"

    def start(self, session: Session) -> Run:
        torch.manual_seed(self.seed)
        model = DualEncoder(self.model).to(session.device)
        stages = [
            PlannedStage(stage, partial(_build_stage, self, stage, model, session, keep=index > 0))
            for index, stage in enumerate(self.stages)
        ]
        return Run(stages=stages, finish=partial(_finish, self, model, session))


def _build_stage(
    recipe: DualEncoderRecipe, stage: StageConfig, model: DualEncoder, session: Session, check: CheckData, *, keep: bool
) -> Stage:
    """Cache the features, if they are not there, and standardise by their statistics."""
    bank = open_bank(recipe.data.bank, recipe.data.names)
    check("the recipe", identity_of_scenes(bank))
    features = session.folder / "features"
    if session.ranks.is_first:
        prepare_families(recipe, bank, features, session.device)
    wait_for_all(session.ranks)
    data = FamilyBatches(features, recipe.data, batch_size=stage.batch_size, seed=recipe.seed)
    use_statistics_(model, data)

    def loss(batch: PairBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        return dual_encoder_terms(model, batch)

    return Stage(stage, Prefetched(data), (Trainee("dual_encoder", model, loss, recipe.optimizer),), keep)


def _finish(recipe: DualEncoderRecipe, model: DualEncoder, session: Session, result: RunResult) -> None:
    """Write the averaged weights as ``folder / "model"``, and a report."""
    save_dual_encoder(model, session.folder / "model")
    if recipe.report:
        told = session.watchers.on_scoring
        report_dual_encoder(to_mapping(recipe), session.folder, device=session.device, on_progress=told)


def prepare_families(recipe: DualEncoderRecipe, bank: Bank, folder: Path, device: str) -> None:
    """Load the frozen networks and cache what they make of the families; what is there is kept."""
    if not check_families(recipe.data, bank, folder):
        cache = FamilyCache(
            folder,
            bank,
            encoder=load_scorer_text_encoder(recipe.model, device=device),
            reader=PictureReader(bf16=True).to(device),
            autoencoder=starter_autoencoder(device),
        )
        cache.fill(recipe.data)


def dual_encoder_terms(model: DualEncoder, batch: PairBatch) -> Mapping[str, Tensor]:
    """The loss of a batch of families, and how often a picture's own caption is before all wrong ones of the batch."""
    logits = model(batch.patches, batch.text)  # (B, B)
    wrong = logits.detach().masked_fill(batch.labels >= 0, -torch.inf)
    first = (logits.detach().diagonal() > wrong.amax(1)).float().mean()
    every, within = siglip_loss(logits, batch.labels), within_families_loss(logits, batch.labels, FAMILY_SIZE)
    return {"loss": every + within, "sigmoid": every, "within_families": within, "own_caption_first": first}


def use_statistics_(model: DualEncoder, data: FamilyBatches) -> None:
    """Let both towers standardise what they read by the statistics of the training data."""
    for tower, (mean, std) in zip((model.picture, model.text), data.statistics(), strict=True):
        tower.mean.copy_(mean)
        tower.std.copy_(std)
