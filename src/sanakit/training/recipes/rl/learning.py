"""What the policy minimises, by the algorithm of the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import torch
from torch import Tensor

from sanakit.models.text.text_condition import TextCondition
from sanakit.training.objectives.advantages import Roles
from sanakit.training.objectives.flow_matching import Velocity, flow_matching_loss
from sanakit.training.objectives.grpo import GRPOConfig, grpo_loss
from sanakit.training.objectives.nft import NFTConfig, nft_loss
from sanakit.training.recipes.rl.policy import Policy
from sanakit.training.recipes.rl.settings import RLSettings, SFTConfig
from sanakit.training.rollouts.feed import RolledBatch
from sanakit.training.step.trainee import Made, Trainee


def build_trainee(recipe: RLSettings, policy: Policy, constants: Mapping[str, Tensor], flow_shift: float) -> Trainee:
    """The policy with its objective.

    Args:
        constants: the null text, ``null.embeds (1, L, C)`` and ``null.mask (1, L)``.
        flow_shift: of the model.
    """

    def loss(batch: RolledBatch, generator: torch.Generator, made: Made) -> Mapping[str, Tensor]:
        own, device = batch.learned, batch.learned.latent.device
        empty = TextCondition(constants["null.embeds"].to(device), constants["null.mask"].to(device))
        roles = policy.roles(own.text, empty, recipe.rollout.guidance_scale)
        match algorithm := recipe.algorithm:
            case NFTConfig():
                noise = torch.randn(own.latent.shape, generator=generator).to(device)
                told = Roles(*(_told(each, own.time) for each in roles))
                terms = nft_loss(told, own.latent, noise, own.sigma, own.advantage, config=algorithm)
            case GRPOConfig():
                sampler, step = recipe.sampler(int(own.iteration), flow_shift), int(own.step)
                assert sampler is not None
                pair = (own.latent, own.following)
                terms = grpo_loss(roles, pair, own.advantage, sampler=sampler, step=step, config=algorithm)
            case SFTConfig(objective=objective):
                terms = flow_matching_loss(roles.policy, own.latent, generator, config=objective)
            case _:
                assert_never(algorithm)
        facts = {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in batch.facts.items()}
        return {**terms, **facts}

    name = "transformer" if policy.learner is policy.network else "adapter"
    return Trainee(
        name, policy.learner, loss, recipe.optimizer, constants, companions={"old": policy.old}, around=policy.around
    )


def _told(velocity: Velocity, time: Tensor) -> Velocity:
    """Told what the network was told in the rollout, which of some solvers is a whole number."""
    return lambda noisy, _: velocity(noisy, time)
