"""Flow matching: predict the direction from the picture to the noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.common.seeds import check_shared, with_shared
from sanakit.models.text.text_condition import TextCondition

Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowMatchingConfig:
    """How noise levels are drawn.

    ``num_levels`` is SANA's table of 1000 levels with truncated network times; None draws levels continuously.
    ``shared_noise`` is the share of the noise's variance that the frames of a clip have in common.
    """

    flow_shift: float = 3.0
    weighting: Literal["logit_normal", "uniform"] = "logit_normal"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    num_levels: int | None = 1000
    shared_noise: float = 0.0

    def __post_init__(self) -> None:
        if not self.flow_shift > 0 or not self.logit_std > 0:
            raise ConfigError(f"flow_shift={self.flow_shift} and logit_std={self.logit_std} must be positive")
        if self.num_levels is not None and self.num_levels < 1:
            raise ConfigError(f"num_levels={self.num_levels} must be at least 1, or null for continuous levels")
        check_shared(self.shared_noise)


def sample_sigmas(num_samples: int, generator: torch.Generator, config: FlowMatchingConfig) -> tuple[Tensor, Tensor]:
    """Noise levels and the times that the network is told, both ``(B,)`` float32 on the generator's device.

    The table is ``sigma_i = i / 1000``; an index is drawn from a logit-normal over the *unshifted* table,
    then ``sigma' = s * sigma / (1 + (s - 1) * sigma)`` moves the mass to high noise.

    Source: SANA, arXiv:2410.10629, section 3; logit-normal times are from arXiv:2403.03206.
    """
    device = generator.device
    if config.weighting == "logit_normal":
        normal = torch.randn(num_samples, generator=generator, device=device)
        u = torch.sigmoid(config.logit_mean + config.logit_std * normal)
    else:
        u = torch.rand(num_samples, generator=generator, device=device)
    shift, levels = config.flow_shift, config.num_levels
    if levels is None:
        sigma = shift * u / (1 + (shift - 1) * u)
        return sigma, 1000 * sigma
    index = (u * levels).floor().clamp(max=levels - 1)
    total = levels + (shift - 1) * index  # a whole number: the truncation below is exact
    return shift * index / total, (1000 * shift * index / total).floor()


def flow_matching_loss(
    velocity: Velocity,
    latent: Tensor,
    generator: torch.Generator,
    *,
    config: FlowMatchingConfig,
    target: Velocity | None = None,
    clean: Tensor | None = None,
) -> dict[str, Tensor]:
    """Mean square error of the velocity, of pictures, videos or anything else with a noise level a sample.

    Args:
        velocity: noisy latents and the times ``(B,)`` that a network is told to its prediction of ``noise - latent``.
        latent: scaled, ``(B, ...)``.
        generator: of noise levels and noise.
        target: a frozen network to be like; None: ``noise - latent``.
        clean: ``(B, T)`` bool, frames of clips ``(B, C, T, ...)`` that stay without noise and are not learned.

    Returns:
        ``loss`` (scalar), ``per_sample (B,)`` and ``sigma (B,)`` for the curve of loss against noise level.
    """
    sigma, timestep = sample_sigmas(latent.shape[0], generator, config)
    noise = torch.randn(latent.shape, generator=generator, device=generator.device)
    if config.shared_noise and latent.ndim == 5:
        common = torch.randn(latent[:, :, :1].shape, generator=generator, device=generator.device)
        noise = with_shared(noise, common, config.shared_noise)
    noise = noise.to(latent.device)
    sigma, timestep = sigma.to(latent.device), timestep.to(latent.device)
    level = sigma.view(-1, *[1] * (latent.ndim - 1))  # (B, 1, ...)
    noisy = (1 - level) * latent + level * noise
    if clean is not None:
        clean = clean.to(latent.device)[:, None, :, None, None]
        noisy = torch.where(clean, latent, noisy)
    if target is None:
        wanted = noise - latent
    else:
        with torch.no_grad():
            wanted = target(noisy, timestep).float()
    squares = (velocity(noisy, timestep).float() - wanted).square()
    if clean is not None:
        squares = squares * ~clean / (~clean).float().mean(dim=2, keepdim=True).clamp_min(1e-6)
    per_sample = squares.mean(dim=tuple(range(1, latent.ndim)))
    return {"loss": per_sample.mean(), "per_sample": per_sample.detach(), "sigma": sigma}


def drop_captions(
    text: TextCondition, null: TextCondition, generator: torch.Generator, probability: float
) -> TextCondition:
    """Replace whole captions by the null text, so that guidance has an unconditional branch to start from.

    Args:
        text: ``(B, L, C)``.
        null: one row, ``(1, L0, C)`` with ``L0 <= L``.
        probability: per sample; SANA uses 0.1.
    """
    draws = torch.rand(text.mask.shape[0], generator=generator, device=generator.device)
    drop = draws.to(text.mask.device) < probability
    length = null.mask.shape[1]
    embeds, mask = text.embeds.clone(), torch.zeros_like(text.mask)
    embeds[:, :length], mask[:, :length] = null.embeds.to(embeds.dtype), null.mask
    return TextCondition(
        torch.where(drop[:, None, None], embeds, text.embeds), torch.where(drop[:, None], mask, text.mask)
    )
