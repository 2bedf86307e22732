"""What a recipe of few steps says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sanakit.common.errors import ConfigError
from sanakit.features.configs import LatentDataConfig
from sanakit.training.objectives.consistency import ConsistencyConfig
from sanakit.training.objectives.ladd import AdversarialConfig
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.transformer.recipe import TransformerStage
from sanakit.training.recipes.transformer.starting_model import NetworkRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class SprintSettings(NetworkRecipe):
    """The teacher is ``init``, the student begins as its copy that also reads the guidance scale."""

    type: Literal["sprint"] = "sprint"
    data: LatentDataConfig
    objective: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    guidance_scales: tuple[float, ...] = (4.0, 4.5, 5.0)  # of the teacher, one of them a sample
    guidance_embedding: bool = True  # the student learns what that scale means
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[TransformerStage, ...]

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
