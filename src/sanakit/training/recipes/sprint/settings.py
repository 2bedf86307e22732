"""What a recipe of few steps says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sanakit.common.errors import ConfigError
from sanakit.features.configs import LatentDataConfig
from sanakit.training.objectives.consistency import ConsistencyConfig
from sanakit.training.objectives.ladd import AdversarialConfig
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.sprint.adaptation import AdaptationConfig
from sanakit.training.recipes.transformer.recipe import TransformerStage
from sanakit.training.recipes.transformer.starting_model import NetworkRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class SprintStage(TransformerStage):
    """A stage of the student, or before those one in which its teacher is made fit for it."""

    trains: Literal["student", "teacher"] = "student"


@dataclass(frozen=True, kw_only=True, slots=True)
class SprintSettings(NetworkRecipe):
    """The teacher is ``init``, the student begins as its copy that also reads the guidance scale."""

    type: Literal["sprint"] = "sprint"
    data: LatentDataConfig
    objective: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)  # of stages that train the teacher
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    guidance_scales: tuple[float, ...] = (4.0, 4.5, 5.0)  # of the teacher, one of them a sample
    guidance_embedding: bool = True  # the student learns what that scale means
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[SprintStage, ...]
    report_prompts: int = 200  # held-out prompts of a report on scenes, drawn by teacher and student; 0: none

    def __post_init__(self) -> None:
        NetworkRecipe.__post_init__(self)
        if self.init is None or self.growth is not None or self.standardise_text:
            raise ConfigError("a sprint recipe distils init: as it is; leave model:, growth: and standardise_text: out")
        if self.compile is not False:
            raise ConfigError(f"compile: {self.compile} knows no forward mode, which the tangent is computed in")
        if not self.guidance_scales or min(self.guidance_scales) < 0:
            raise ConfigError(f"guidance_scales={list(self.guidance_scales)} must be numbers from 0 up")
        if not self.objective.weight and not self.adversarial.weight:
            raise ConfigError("objective.weight and adversarial.weight are both 0, so there is nothing to learn from")
        trained = [stage.trains for stage in self.stages]
        if trained != sorted(trained, reverse=True):
            raise ConfigError("stages that train the teacher come before all those that train its student")
        if any(stage.interpolation_scale is not None for stage in self.stages):
            raise ConfigError(
                "interpolation_scale: has no part in a sprint recipe: the student has its teacher's positions"
            )

    @property
    def only_whole(self) -> str:
        return "adapter: of a student, which has its teacher's weights" if self.adapter is not None else ""

    @property
    def adapts(self) -> bool:
        """Whether the teacher is trained first."""
        return self.stages[0].trains == "teacher"
