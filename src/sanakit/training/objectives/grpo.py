"""Flow-GRPO: every noisy step of a rollout is a choice, and choices of better pictures are to become likelier.

Source: Flow-GRPO, arXiv:2505.05470; the clipped ratio is that of PPO, arXiv:1707.06347.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sanakit.common.devices import widened
from sanakit.common.errors import ConfigError
from sanakit.sampling.stochastic import FlowCPS, FlowSDE, StochasticSolver
from sanakit.training.objectives.advantages import Roles


@dataclass(frozen=True, kw_only=True, slots=True)
class GRPOConfig:
    """What is learned from the steps of rollouts, and how these are sampled.

    Attributes:
        kind: of the noise of steps: of the equation, or keeping coefficients.
        noise_level: None: as the kind has it.
        window: so many steps, somewhere in the first half and elsewhere in every iteration, have noise; None: all.
        clip: a ratio further from 1 teaches nothing more. A log-probability is a mean over dimensions: clips are tiny.
        kl: weight of the distance from where the reference leads.
        most: advantages are cut to within this of 0.
    """

    type: Literal["grpo"] = "grpo"
    kind: Literal["sde", "cps"] = "sde"
    noise_level: float | None = None
    window: int | None = None
    clip: float = 1e-4
    kl: float = 0.01
    most: float = 5.0

    def __post_init__(self) -> None:
        if not self.clip > 0 or not self.most > 0 or self.kl < 0:
            raise ConfigError(
                f"algorithm: clip={self.clip} and most={self.most} must be positive, and kl={self.kl} not negative"
            )
        if not self.sampler(num_steps=2, flow_shift=1.0).trained_steps():
            raise ConfigError(
                "algorithm: noise_level=0 leaves no step with noise to learn from; give a positive one, or leave it out"
            )

    def sampler(self, *, num_steps: int, flow_shift: float, draw: int = 0) -> StochasticSolver:
        """How pictures are made; ``draw`` is any number, from which the place of the window follows."""
        kind = FlowSDE if self.kind == "sde" else FlowCPS
        solver: StochasticSolver = kind(num_steps=num_steps, flow_shift=flow_shift)
        level = solver.noise_level if self.noise_level is None else self.noise_level
        window = None
        if self.window is not None:
            size = min(self.window, num_steps - 1)
            first = draw % max(1, num_steps // 2 - size + 1)
            window = (first, first + size)
        return kind(num_steps=num_steps, flow_shift=flow_shift, noise_level=level, window=window)


def grpo_loss(
    roles: Roles,
    steps: Sequence[Tensor],
    advantage: Tensor,
    *,
    sampler: StochasticSolver,
    step: int,
    config: GRPOConfig,
) -> dict[str, Tensor]:
    """The loss of one step of rollouts.

    What the old weights make of the step is computed here and in the same way, not remembered from the rollout, so that
    the ratio is exactly 1 where the weights are the same, in whatever batch and precision.

    Args:
        roles: who gives velocities.
        steps: the latents before the step and after it, each ``(B, ...)``.
        advantage: ``(B,)``.

    Returns:
        ``loss``, ``gain``, ``distance`` from the reference, ``clipped``, the share of ratios that teach nothing, and
        ``drift``, how far ratios are from 1 (scalars).
    """
    latent, following = steps
    time = torch.full((len(latent),), sampler.schedule().timesteps[step], device=latent.device, dtype=latent.dtype)
    now = sampler.transition(latent, widened(roles.policy(latent, time)), step)
    with torch.no_grad():
        before = sampler.transition(latent, widened(roles.old(latent, time)), step)
        kept = sampler.transition(latent, widened(roles.reference(latent, time)), step) if config.kl else now
    ratio = (now.log_probability(following) - before.log_probability(following)).exp()  # (B,)
    advantage = advantage.to(ratio).clamp(-config.most, config.most)
    unclipped, clipped = advantage * ratio, advantage * ratio.clamp(1 - config.clip, 1 + config.clip)
    gain = torch.minimum(unclipped, clipped).mean()
    distance = now.divergence(kept).mean()
    return {
        "loss": config.kl * distance - gain,
        "gain": gain,
        "distance": distance,
        "clipped": (clipped < unclipped).to(ratio).mean(),
        "drift": (ratio - 1).abs().mean(),
    }
