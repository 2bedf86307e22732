"""What a recipe is, and where each kind of them is found."""

from __future__ import annotations

import difflib
import importlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError, RequestError
from sanakit.common.paths import as_path
from sanakit.training.loop import RunResult
from sanakit.training.memory.step_memory import Workload
from sanakit.training.run.run_config import RunConfig
from sanakit.training.run.session import Session
from sanakit.training.run.stage import StageConfig
from sanakit.training.saving.bundle import Bundle
from sanakit.training.step.trainee import PlannedStage, Trainee
from sanakit.training.watching.run_logger import DrawSamples

logger = logging.getLogger(__name__)

RECIPES = {
    "autoencoder": "sanakit.training.recipes.autoencoder.recipe.AutoencoderRecipe",
    "dual_encoder": "sanakit.training.recipes.dual_encoder.recipe.DualEncoderRecipe",
    "recogniser": "sanakit.training.recipes.recogniser.recipe.RecogniserRecipe",
    "rl": "sanakit.training.recipes.rl.recipe.RLRecipe",
    "sprint": "sanakit.training.recipes.sprint.recipe.SprintRecipe",
    "transformer": "sanakit.training.recipes.transformer.recipe.TransformerRecipe",
}
"""The class of each ``type``; its module is imported when a recipe of the type is read."""

OLD_NAMES = {"phases": "stages"}
"""Settings that were called otherwise in 0.1.0."""

_OLD_SCENES = "starter_scenes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A recipe whose networks are there.

    Attributes:
        stages: to go through; each is built when it begins.
        finish: exports and reports; called at the end, on the first process.
        draw_samples: pictures of the recipe's prompts while the run goes on; None: a recipe with prompts is refused.
    """

    stages: Sequence[PlannedStage]
    finish: Callable[[RunResult], None]
    draw_samples: DrawSamples | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe(RunConfig, ABC):
    """Everything that a run needs, as plain values; a subclass says what it trains.

    A subclass that can begin with weights has the settings ``init`` and ``model``, of which a recipe gives one. One
    with checks of its own calls ``Recipe.__post_init__(self)``: ``super()`` does not work in slotted dataclasses.
    """

    stages: tuple[StageConfig, ...]

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        if {"init", "model"} <= given.keys() and (given["init"] is None) == (given["model"] is None):
            raise ConfigError("a recipe needs init: (weights to begin with) or model: (a new network), one of the two")
        if not self.stages:
            raise ConfigError("a recipe needs at least one stage")
        if len({stage.name for stage in self.stages}) < len(self.stages):
            raise ConfigError(f"the stages need names of their own, not {[stage.name for stage in self.stages]}")
        if self.parallel == "fsdp" and self.only_whole:
            raise ConfigError(f"parallel: fsdp does not go together with {self.only_whole}; use ddp")

    @property
    def only_whole(self) -> str:
        """What keeps the networks from being sharded over processes, in words; "" if nothing does."""
        return ""

    def begun_policy(self) -> PrecisionPolicy | None:
        """What the weights that the run begins with work in; None for new ones. Loads no weights."""
        return None

    def workloads(self, device: str) -> list[Workload]:
        """What each stage needs memory for; none if it cannot be planned. Loads no weights of what is trained."""
        return []

    @abstractmethod
    def start(self, session: Session) -> Run:
        """Build or load the networks."""

    def replayed(self, bundle: Bundle) -> tuple[Trainee, Any]:
        """Who was trained in a step that the guard has kept, its weights still to be loaded, and the micro-batch.

        Raises:
            RequestError: such a step cannot be made again.
        """
        raise RequestError(f"bundles of recipes of type {self.type} cannot be replayed")


def build_recipe(settings: Mapping[str, Any], *, name: str) -> Recipe:
    """The frozen recipe of the type that the settings name.

    Raises:
        ConfigError: an unknown type or setting, or a value that cannot work; the message has the nearest right name.
    """
    return from_mapping(_class_of(settings.get("type"), name), renamed(settings), where="recipe")


def class_of_settings(settings: Mapping[str, Any]) -> type[Recipe] | None:
    """The class of a recipe's settings; None if they name none that there is."""
    kind = settings.get("type")
    return _class_of(kind, "") if isinstance(kind, str) and kind in RECIPES else None


def renamed(settings: Mapping[str, Any], *, note: bool = True) -> dict[str, Any]:
    """The settings with old names of them and of a run's autoencoder replaced; of settings that is noted."""
    for old, new in OLD_NAMES.items():
        if old in settings and new not in settings:
            if note:
                logger.warning("%s: in a recipe is called %s: now", old, new)
            settings = {new if key == old else key: value for key, value in settings.items()}
    if isinstance(data := settings.get("data"), Mapping) and data.get("type") == _OLD_SCENES:
        if note:
            logger.warning("data: {type: starter_scenes} is {type: scenes, bank: tiny} now, whose scenes are others")
        settings = {**settings, "data": {"bank": "tiny", **data, "type": "scenes"}}
    settings = {key: _with_mixture(value, note=note) for key, value in settings.items()}
    return {key: _folder_of(value) if key in ("autoencoder", "init") else value for key, value in settings.items()}


def _with_mixture(value: Any, *, note: bool) -> Any:
    """Scenes wherever they are in a recipe, with their ``single_share``, as it was called for a time, in a mixture."""
    if isinstance(value, list):
        return [_with_mixture(item, note=note) for item in value]
    if not isinstance(value, Mapping):
        return value
    inner = {key: _with_mixture(item, note=note) for key, item in value.items()}
    if "single_share" in inner and "mixture" not in inner:
        share = inner.pop("single_share")
        inner["mixture"] = None if share is None else {"kinds": {"single": share}}
        if note:
            logger.warning("single_share: in a recipe is mixture: {kinds: {single: ...}} now")
    return inner


def _folder_of(weights: Any) -> Any:
    """The model folder of a run for its ``autoencoder.pt``, which 0.1.0 wrote; only where the folder is there."""
    folder = as_path(str(weights)).with_name("model")
    return str(folder) if Path(str(weights)).name == "autoencoder.pt" and folder.is_dir() else weights


def renamed_path(override: str) -> str:
    """``phases.0.steps=5`` with the present name of the setting."""
    first, dot, rest = override.partition(".")
    return OLD_NAMES.get(first, first) + dot + rest


def _class_of(kind: Any, name: str) -> type[Recipe]:
    if not isinstance(kind, str) or kind not in RECIPES:
        close = difflib.get_close_matches(str(kind), RECIPES, n=1)
        known = sorted(RECIPES)
        hint = f"did you mean {close[0]}?" if close else f"a recipe's type is {', '.join(known[:-1])} or {known[-1]}"
        raise ConfigError(f"{name} says type: {kind}; {hint}")
    module, _, class_name = RECIPES[kind].rpartition(".")
    found: type[Recipe] = getattr(importlib.import_module(module), class_name)
    return found
