"""What a recipe that learns from rewards says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sanakit.common.errors import ConfigError
from sanakit.common.seeds import derived_seed
from sanakit.sampling.schedules import Schedule
from sanakit.sampling.stochastic import StochasticSolver
from sanakit.scoring.rewards.panel import RewardConfig
from sanakit.training.objectives.advantages import Spread
from sanakit.training.objectives.flow_matching import FlowMatchingConfig
from sanakit.training.objectives.grpo import GRPOConfig
from sanakit.training.objectives.nft import NFTConfig, OldDecay
from sanakit.training.optimizers.config import AdamWConfig, OptimizerConfig
from sanakit.training.recipes.transformer.starting_model import NetworkRecipe
from sanakit.training.rollouts.feed import Layout
from sanakit.training.rollouts.prompts import PromptsConfig
from sanakit.training.rollouts.settings import ExploreConfig, RolloutConfig
from sanakit.training.run.stage import StageConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SFTConfig:
    """Rejection sampling: the best pictures of a prompt become data, and are learned as any other.

    Attributes:
        passes: times that a picture is learned from in an iteration, each at a noise level of its own.
        objective: how noise levels are drawn.
    """

    type: Literal["sft"] = "sft"
    passes: int = 1
    objective: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise ConfigError(f"algorithm: passes={self.passes} must be at least 1")


AlgorithmConfig = NFTConfig | GRPOConfig | SFTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class RayActors:
    """Where rollouts are made and looked at, if not by the run's own processes; it changes nothing in what they are.

    Attributes:
        address: of a running cluster, "auto" for this machine's; None starts Ray here for the run.
        actors: processes with a model and rewards each.
        cpus, gpus: reserved for each.
    """

    address: str | None = None
    actors: int = 1
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.actors < 1 or self.cpus < 0 or self.gpus < 0:
            raise ConfigError(
                f"ray: actors={self.actors} must be at least 1, cpus={self.cpus:g} and gpus={self.gpus:g} not negative"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RLStage(StageConfig):
    """A stage of rollouts with a side in pixels; its micro-batches a step follow from ``rollout.updates``."""

    resolution: int

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        if self.resolution < 1:
            raise ConfigError(f"stage {self.name}: resolution={self.resolution} must be a side in px")

    @property
    def sides(self) -> tuple[int, ...]:
        return (self.resolution,)


@dataclass(frozen=True, kw_only=True, slots=True)
class RLSettings(NetworkRecipe):
    """The policy is ``init``, or with ``adapter:`` what is beside it; the reference is ``init`` as it was."""

    makes_pictures: ClassVar[bool] = True

    type: Literal["rl"] = "rl"
    prompts: PromptsConfig
    rewards: tuple[RewardConfig, ...]
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    explore: ExploreConfig | None = None
    algorithm: AlgorithmConfig = field(default_factory=NFTConfig)
    advantages: Spread = "all"  # whose deviation divides: of all rewards of an iteration, or of each prompt's
    ray: RayActors | None = None  # rollouts are made by actors of Ray; None: by the processes of the run
    old: OldDecay = "slow"  # how the weights of rollouts follow; Flow-GRPO and rejection sampling have "none"
    optimizer: OptimizerConfig = field(default_factory=AdamWConfig)
    stages: tuple[RLStage, ...]
    tested_prompts: int = 16  # held-out prompts of a test while the run goes on, every log.captions steps; 0: none
    report_prompts: int = 50  # held-out prompts of the report, drawn before and after; 0: none

    def __post_init__(self) -> None:
        NetworkRecipe.__post_init__(self)
        if self.init is None or self.growth is not None or self.standardise_text:
            raise ConfigError(
                "a recipe of type rl improves init: as it is; leave model:, growth: and standardise_text: out"
            )
        if any(stage.accumulation != 1 or stage.epochs is not None for stage in self.stages):
            raise ConfigError(
                "stages: accumulation follows from rollout.updates, and iterations have no epochs; leave both out"
            )
        if not self.rewards or len({reward.name for reward in self.rewards}) < len(self.rewards):
            raise ConfigError("rewards: give one or more, each with a name of its own")
        if self.explore is not None and self.explore.candidates < self.rollout.candidates:
            raise ConfigError(
                f"explore.candidates={self.explore.candidates} must be at least rollout.candidates="
                f"{self.rollout.candidates}, which are chosen from them"
            )
        if isinstance(self.algorithm, GRPOConfig) and self.rollout.solver is not None:
            raise ConfigError("rollout.solver has no part in Flow-GRPO, whose steps have noise; leave it out")
        if isinstance(self.algorithm, GRPOConfig) and (self.rollout.steps is None or self.rollout.steps < 2):
            raise ConfigError("rollout.steps must be 2 or more for Flow-GRPO, which does not learn from the last one")
        if isinstance(self.algorithm, SFTConfig) and self.rollout.select not in ("best", "random"):
            raise ConfigError("rollout.select must be best for rejection sampling, or random to compare with")

    def sampler(self, iteration: int, flow_shift: float) -> StochasticSolver | None:
        """The solver of an iteration, where it has noise of its own; ``flow_shift`` is the model's."""
        if not isinstance(self.algorithm, GRPOConfig):
            return None
        assert self.rollout.steps is not None
        shift = flow_shift if self.rollout.flow_shift is None else self.rollout.flow_shift
        draw = derived_seed(self.seed, "window", iteration)
        return self.algorithm.sampler(num_steps=self.rollout.steps, flow_shift=shift, draw=draw)

    def layout(self, stage: RLStage, schedule: Schedule, flow_shift: float) -> Layout:
        """How an iteration is cut, whose rollouts visit the levels of ``schedule``."""
        sampler = self.sampler(0, flow_shift)
        match self.algorithm:
            case NFTConfig(levels=levels):
                passes = max(1, int(schedule.num_steps * levels))
            case SFTConfig(passes=passes):
                pass
            case _:
                assert sampler is not None
                passes = len(sampler.trained_steps())
        return Layout(
            samples=self.rollout.prompts * self.rollout.kept,
            batch_size=stage.batch_size,
            passes=passes,
            sigmas=schedule.sigmas[:-1],
            times=schedule.timesteps,
        )
