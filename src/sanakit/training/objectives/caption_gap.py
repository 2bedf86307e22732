"""How much better a network explains pictures with their right captions than with wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sanakit.models.text.text_condition import TextCondition
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, Velocity

NUM_LEVELS = 4


def noise_levels(config: FlowMatchingConfig) -> list[float]:
    """Four noise levels, evenly spaced before the shift of the objective: 0.2, 0.4, 0.6, 0.8 without one."""
    shift = config.flow_shift
    even = [(number + 1) / (NUM_LEVELS + 1) for number in range(NUM_LEVELS)]
    return [shift * u / (1 + (shift - 1) * u) for u in even]


@torch.no_grad()
def caption_gaps(
    velocity_with: Callable[[TextCondition], Velocity],
    latent: Tensor,
    captions: tuple[TextCondition, TextCondition],
    generator: torch.Generator,
    *,
    config: FlowMatchingConfig,
) -> Tensor:
    """The flow loss under a wrong caption less that under the right one, for the same noise, mean of four levels.

    Args:
        velocity_with: texts of ``B`` rows to the velocity as `flow_matching_loss` takes it.
        latent: scaled, ``(B, ...)``.
        captions: right and wrong ones of the ``B`` latents.
        generator: of the noise.

    Returns:
        ``(B,)`` float64: above 0 where the right caption explains more, and 0 exactly where the words do not matter.
    """
    velocities = [velocity_with(text) for text in captions]
    gaps = torch.zeros(len(latent), dtype=torch.float64)
    for sigma in noise_levels(config):
        noise = torch.randn(latent.shape, generator=generator, device=generator.device).to(latent.device)
        noisy = (1 - sigma) * latent + sigma * noise
        timestep = torch.full((len(latent),), 1000 * sigma, device=latent.device)
        right, wrong = (
            (velocity(noisy, timestep).float() - (noise - latent)).square().flatten(1).mean(dim=1).double().cpu()
            for velocity in velocities
        )
        gaps += (wrong - right) / NUM_LEVELS
    return gaps


def wins(gaps: Tensor, kinds: Sequence[str]) -> Mapping[str, tuple[float, int]]:
    """By kind of wrong word: how often the right caption had the lower loss (a tie is half a win), and of how many."""
    counted: dict[str, tuple[float, int]] = {}
    for gap, kind in zip(gaps.tolist(), kinds, strict=True):
        won, number = counted.get(kind, (0.0, 0))
        counted[kind] = (won + (1.0 if gap > 0 else 0.5 if gap == 0 else 0.0), number + 1)
    return counted
