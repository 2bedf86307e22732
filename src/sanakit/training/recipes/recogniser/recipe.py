"""Training the recogniser that reads pictures of the worlds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from sanakit.common.config import to_mapping
from sanakit.common.ranks import wait_for_all
from sanakit.features.scenes import identity_of_scenes
from sanakit.models.recogniser import Recogniser, RecogniserConfig, Standardised
from sanakit.scoring.reading.recogniser import save_recogniser
from sanakit.training.loop import RunResult
from sanakit.training.objectives.recognition import finding_terms, naming_terms
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.recipe import Recipe, Run
from sanakit.training.recipes.recogniser.features import ExampleBatch, ExampleBatches, ExamplesConfig, cache_examples
from sanakit.training.recipes.recogniser.report import report_recogniser
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.trainee import CheckData, Made, PlannedStage, Stage, Trainee
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank, read_names
from sanakit.worlds.scenes.vocabulary import COLOURS, PLAIN_BACKGROUNDS, SCENE_BACKGROUNDS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecogniserRecipe(Recipe):
    """What is read and on how many examples; the random draws follow from ``seed`` and ``data.seed``."""

    type: Literal["recogniser"] = "recogniser"
    data: ExamplesConfig = field(default_factory=ExamplesConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[StageConfig, ...]
    report: int = 300  # held-out scenes that are read at the end, and again for each spoiling; 0: no report

    @property
    def only_whole(self) -> str:
        return "a recogniser"

    def start(self, session: Session) -> Run:
        bank = learned_bank(self.data)
        torch.manual_seed(self.seed)
        model = Recogniser(words_of(bank)).to(session.device)
        stages = [
            PlannedStage(stage, partial(_build_stage, self, stage, model, bank, session, keep=index > 0))
            for index, stage in enumerate(self.stages)
        ]
        return Run(stages=stages, finish=partial(_finish, self, model, bank, session))


def learned_bank(config: ExamplesConfig) -> Bank:
    """The bank of a recipe, cut to the names that are learned; names that it lacks are told.

    Raises:
        RequestError: there is no such bank, or the file of names cannot be read.
    """
    bank = load_bank(config.bank)
    if config.names is None:
        return bank
    names = [name for line in read_names(config.names) for part in line.split(",") if (name := part.strip())]
    if missing := [name for name in names if name not in bank.things]:
        logger.warning("the bank %r has no %s; the recogniser will not know them", bank.name, ", ".join(missing))
    return bank.subset(name for name in names if name in bank.things)


def words_of(bank: Bank) -> RecogniserConfig:
    """Everything that scenes of the bank can show."""
    people = {person.parts["kind"] for person in bank.people}
    natural = {look.natural for thing in bank.things.values() for look in thing.looks if look.natural}
    return RecogniserConfig(
        names=tuple(sorted({*bank.things, *people})),
        colours=(*COLOURS, *sorted(natural - set(COLOURS))),
        ground_colours=tuple(PLAIN_BACKGROUNDS),
        drawn_grounds=tuple(SCENE_BACKGROUNDS),
        places=tuple(sorted(bank.places)),
    )


def _build_stage(
    recipe: RecogniserRecipe,
    stage: StageConfig,
    model: Recogniser,
    bank: Bank,
    session: Session,
    check: CheckData,
    *,
    keep: bool,
) -> Stage:
    """Cache the examples, if they are not there, and standardise by their statistics."""
    check("the recipe", identity_of_scenes(bank))
    folder = session.folder / "examples"
    if session.ranks.is_first:
        cache_examples(recipe.data, model.config, bank, folder, session.device)
    wait_for_all(session.ranks)
    data = ExampleBatches(recipe.data, folder, batch_size=stage.batch_size, seed=recipe.seed)
    use_statistics_(model, data)

    def loss(batch: ExampleBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        return recogniser_terms(model, batch)

    return Stage(stage, Prefetched(data), (Trainee("recogniser", model, loss, recipe.optimizer),), keep)


def recogniser_terms(model: Recogniser, batch: ExampleBatch) -> Mapping[str, Tensor]:
    """All terms of a batch, and their sum as ``loss``."""
    found, said = model(batch.pictures, batch.cutouts)
    terms = {**finding_terms(found, batch.truth), **naming_terms(said, batch.names, batch.colours)}
    named = terms.pop("named")
    return {"loss": sum(terms.values(), torch.zeros((), device=named.device)), **terms, "named": named}


def use_statistics_(model: Recogniser, data: ExampleBatches) -> None:
    """Let both halves standardise what they read by the statistics of the training data."""
    pictures, cutouts = data.some()
    standards = [*model.finder.standards, *model.namer.standards]
    for standard, part in zip(standards, (*pictures, *cutouts), strict=True):
        assert isinstance(standard, Standardised)
        standard.set_(part)


def _finish(recipe: RecogniserRecipe, model: Recogniser, bank: Bank, session: Session, result: RunResult) -> None:
    """Write the averaged weights as ``folder / "model"``, and a report."""
    save_recogniser(model, session.folder / "model")
    if recipe.report:
        report_recogniser(to_mapping(recipe), bank, session.folder, num_scenes=recipe.report, device=session.device)
