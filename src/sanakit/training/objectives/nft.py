"""DiffusionNFT: towards the pictures that are better than their group, and away from those that are worse.

No path, no probability: an advantage says how much a clean latent belongs to a policy that is a step better than the
one that made it, and how much to one that is a step worse; both are mixtures of the present and the old velocity.

Source: DiffusionNFT, arXiv:2509.16117.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sanakit.common.devices import widened
from sanakit.common.errors import ConfigError
from sanakit.training.objectives.advantages import Roles

AdvantageMode = Literal["all", "positive_only", "negative_only", "one_only", "binary"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NFTConfig:
    """What is learned from clean latents and their advantages.

    Attributes:
        beta: length of the step that the better and the worse policy stand for; less is bolder.
        kl: weight of the squared distance from the reference's velocity.
        most: advantages are cut to within this of 0.
        mode: which advantages count, and how.
        levels: share of the noise levels of the rollout at which each sample is learned from.
        self_normalised: divide errors by their own mean size.
    """

    type: Literal["nft"] = "nft"
    beta: float = 1.0
    kl: float = 1e-4
    most: float = 5.0
    mode: AdvantageMode = "all"
    levels: float = 0.99
    self_normalised: bool = True

    def __post_init__(self) -> None:
        if not self.beta > 0 or not self.most > 0 or self.kl < 0 or not 0 < self.levels <= 1:
            raise ConfigError(
                f"algorithm: beta={self.beta} and most={self.most} must be positive, kl={self.kl} not negative, and "
                f"levels={self.levels} within (0, 1]"
            )

    def share_of_better(self, advantage: Tensor) -> Tensor:
        """How much a sample belongs to the better policy, 0 to 1: half of an advantage of 0."""
        match self.mode:
            case "positive_only":
                advantage = advantage.clamp(min=0)
            case "negative_only":
                advantage = advantage.clamp(max=0)
            case "one_only":
                advantage = (advantage > 0).to(advantage)
            case "binary":
                advantage = advantage.sign()
        return (0.5 * advantage / self.most + 0.5).clamp(0, 1)


def nft_loss(
    roles: Roles, latent: Tensor, noise: Tensor, sigma: Tensor, advantage: Tensor, *, config: NFTConfig
) -> dict[str, Tensor]:
    """The loss of clean latents at a noise level each.

    Args:
        roles: who gives velocities.
        latent, noise: ``(B, ...)``.
        sigma, advantage: ``(B,)``.

    Returns:
        ``loss``, ``contrast`` and ``distance`` from the reference (scalars); ``per_sample (B,)`` and ``sigma (B,)``.
    """
    noisy, time = mixed(latent, noise, sigma), 1000 * sigma
    with torch.no_grad():
        before = widened(roles.old(noisy, time))
        kept = widened(roles.reference(noisy, time)) if config.kl else None
    now = widened(roles.policy(noisy, time))
    per_sample = contrast(now, before, noisy, latent, sigma, config.share_of_better(advantage), config=config)
    distance = per_sample.new_zeros(()) if kept is None else (now - kept).square().mean()
    loss = per_sample.mean() + config.kl * distance
    return {
        "loss": loss,
        "contrast": per_sample.mean(),
        "distance": distance,
        "per_sample": per_sample.detach(),
        "sigma": sigma,
    }


def contrast(
    now: Tensor, before: Tensor, noisy: Tensor, latent: Tensor, sigma: Tensor, share: Tensor, *, config: NFTConfig
) -> Tensor:
    """``(B,)``: errors of the better and of the worse policy's clean latents, by how much a sample belongs to each."""
    level, beta = _beside(sigma, latent), config.beta

    def error(velocity: Tensor) -> Tensor:
        missed = (noisy - level * velocity - latent).flatten(1)
        if not config.self_normalised:
            return missed.square().mean(1)
        size = missed.detach().double().abs().mean(1).clamp(min=1e-5).to(missed)
        return missed.square().mean(1) / size

    better, worse = error(beta * now + (1 - beta) * before), error((1 + beta) * before - beta * now)
    share = share.to(latent)
    return config.most / beta * (share * better + (1 - share) * worse)


def mixed(latent: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The latents ``(B, ...)`` under as much noise as ``sigma (B,)`` says."""
    level = _beside(sigma, latent)
    return (1 - level) * latent + level * noise


def _beside(sigma: Tensor, latent: Tensor) -> Tensor:
    return sigma.view(-1, *[1] * (latent.ndim - 1))  # (B, 1, ...)


OldDecay = Literal["none", "slow", "late"]


def old_decay(kind: OldDecay, step: int) -> float:
    """How much of itself the policy that makes rollouts keeps after so many updates; the rest is the trained one's."""
    match kind:
        case "none":
            return 0.0
        case "slow":
            return min(0.001 * step, 0.5)
        case "late":
            return 0.0 if step < 75 else min(0.0075 * (step - 75), 0.999)
