"""Training the recogniser that reads pictures of the worlds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from sanakit.checkpoints.sources.origin import STARTER
from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError
from sanakit.common.ranks import wait_for_all
from sanakit.features.scenes import identity_of_scenes
from sanakit.models.recogniser import Recogniser, RecogniserConfig, Standardised
from sanakit.scoring.reading.load import shipped_recogniser
from sanakit.scoring.reading.recogniser import load_recogniser, save_recogniser
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
    init: str | None = None  # starter, or the model folder of a run, whose recogniser learns on; None: a new one
    data: ExamplesConfig = field(default_factory=ExamplesConfig)
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[StageConfig, ...]
    report: int = 300  # held-out scenes that are read at the end, and again for each spoiling; 0: no report

    @property
    def only_whole(self) -> str:
        return "a recogniser"

    def start(self, session: Session) -> Run:
        banks = learned_banks(self.data)
        torch.manual_seed(self.seed)
        model = network_of(self, banks[0]).to(session.device)
        stages = [
            PlannedStage(stage, partial(_build_stage, self, stage, model, banks, session, keep=index > 0))
            for index, stage in enumerate(self.stages)
        ]
        return Run(stages=stages, finish=partial(_finish, self, model, banks[0], session))


def learned_banks(config: ExamplesConfig) -> tuple[Bank, ...]:
    """The banks of a recipe, cut to the names that are learned; names that the first lacks are told.

    Raises:
        RequestError: there is no such bank, or the file of names cannot be read.
        ConfigError: the second has colours or grounds that the first has not.
    """
    bank = load_bank(config.bank)
    if config.names is not None:
        names = [name for line in read_names(config.names) for part in line.split(",") if (name := part.strip())]
        if missing := [name for name in names if name not in bank.things]:
            logger.warning("the bank %r has no %s; the recogniser will not know them", bank.name, ", ".join(missing))
        bank = bank.subset(name for name in names if name in bank.things)
    if config.also is None:
        return (bank,)
    second = load_bank(config.also)
    second = second.subset(name for name in second.things if name in bank.things)
    words, others = words_of(bank), words_of(second)
    if not {*others.names, *others.colours, *others.grounds} <= {*words.names, *words.colours, *words.grounds}:
        raise ConfigError(
            f"data.also: the bank {second.name!r} shows what {bank.name!r} does not; let them change places"
        )
    return bank, second


def network_of(recipe: RecogniserRecipe, bank: Bank) -> Recogniser:
    """A new network for the words of the bank, or the one that learns on, in float32.

    Raises:
        ConfigError: that one was trained on other words.
        CheckpointError: its files are missing or damaged.
    """
    words = words_of(bank)
    if recipe.init is None:
        return Recogniser(words)
    model = load_recogniser(shipped_recogniser() if recipe.init == STARTER else recipe.init)
    if model.config != words:
        raise ConfigError(
            f"init: {recipe.init} was trained on other words than the bank {bank.name!r} has; leave it out"
        )
    return model


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
    banks: Sequence[Bank],
    session: Session,
    check: CheckData,
    *,
    keep: bool,
) -> Stage:
    """Cache the examples, if they are not there, and standardise a new network by their statistics."""
    check("the recipe", identity_of_scenes(*banks))
    folder = session.folder / "examples"
    if session.ranks.is_first:
        cache_examples(recipe.data, model.config, banks, folder, session.device)
    wait_for_all(session.ranks)
    data = ExampleBatches(recipe.data, folder, batch_size=stage.batch_size, seed=recipe.seed)
    if recipe.init is None:
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
