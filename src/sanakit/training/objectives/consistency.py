"""Consistency distillation in continuous time (sCM): one step of the student ends where the teacher's path does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.sampling.trigflow import SIGMA_DATA, Field
from sanakit.training.step.parallel import plain_attention

_LEAST_ANGLE = 1e-3  # below it the weight, 1 / tan t, grows beyond what the tangent makes up for


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsistencyConfig:
    """How angles are drawn, and how the tangent is tamed.

    Angles are ``atan(exp(rho) / SIGMA_DATA)`` of a normal ``rho``. ``tangent_warmup`` is the number of steps over which
    the second half of the tangent grows to its full size, ``tangent_floor`` what is added to its norm; ``weight`` is
    that of the term in a student's loss, and 0 leaves it out.
    Source: SANA-Sprint, arXiv:2503.09641; its code has 0.2 for the mean, and its table 0.
    """

    weight: float = 1.0
    logit_mean: float = 0.2
    logit_std: float = 1.6
    tangent_warmup: int = 4000
    tangent_floor: float = 0.1

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ConfigError(f"objective.weight={self.weight} must not be negative")
        if not self.logit_std > 0 or not self.tangent_floor > 0 or self.tangent_warmup < 1:
            raise ConfigError(
                f"logit_std={self.logit_std}, tangent_floor={self.tangent_floor} and tangent_warmup="
                f"{self.tangent_warmup} must be positive"
            )

    def warmup(self, step: int) -> float:
        """The share of the tangent's second half in an update, counted from 0."""
        return min(1.0, step / self.tangent_warmup)


def sample_angles(num_samples: int, generator: torch.Generator, *, mean: float, std: float) -> Tensor:
    """``(B,)`` float32 on the generator's device, above 0 and below a quarter turn."""
    normal = torch.randn(num_samples, generator=generator, device=generator.device)
    return torch.atan((mean + std * normal).exp() / SIGMA_DATA).clamp(min=_LEAST_ANGLE)


def scm_loss(
    student: Field,
    teacher: Field,
    logvar: Callable[[Tensor], Tensor],
    latent: Tensor,
    generator: torch.Generator,
    *,
    config: ConsistencyConfig,
    step: int,
) -> dict[str, Tensor]:
    """The student's field is moved against the change of its own consistency function along the teacher's path.

    Args:
        student, teacher: ``F(u, t)``; the teacher's with guidance, the student's told the same scale.
        logvar: angles to the learned weight of each, ``(B,)``.
        latent: scaled, ``(B, ...)``.
        step: number of this update, for the warm-up.

    Returns:
        ``loss`` (scalar), whose value says nothing but that of the tangent, ``tangent (B,)``, its norm before it is
        normalised, which falls as the student learns, ``angle (B,)`` and ``error (B,)``.
    """
    angle = sample_angles(latent.shape[0], generator, mean=config.logit_mean, std=config.logit_std).to(latent.device)
    noise = torch.randn(latent.shape, generator=generator, device=generator.device).to(latent.device)
    cos, sin = _waves(angle, latent)
    x = SIGMA_DATA * (cos * latent + sin * noise)
    with torch.no_grad():
        direction = SIGMA_DATA * teacher(x / SIGMA_DATA, angle)  # dx/dt
        change = premultiplied_change(student, x, angle, direction)
    predicted = student(x / SIGMA_DATA, angle)
    kept = predicted.detach()  # of the same call, so that their difference is 0 to the bit
    tangent = tangent_of(kept, change, x, angle, direction, warmup=config.warmup(step))
    norm = tangent.flatten(1).norm(dim=1)
    tangent = tangent / (norm + config.tangent_floor).reshape(cos.shape)
    error = (predicted - kept - tangent).square().flatten(1).mean(dim=1)  # (B,)
    return {"loss": weighted_error(error, angle, logvar(angle)), "tangent": norm, "angle": angle, "error": error}


def weighted_error(error: Tensor, angle: Tensor, logvar: Tensor) -> Tensor:
    """The mean of ``error / (SIGMA_DATA tan t) exp(-logvar) + logvar``, all ``(B,)``."""
    return (error / (SIGMA_DATA * angle.tan()) * (-logvar).exp() + logvar).mean()


def premultiplied_change(student: Field, x: Tensor, angle: Tensor, direction: Tensor) -> Tensor:
    """``cos t sin t dF/dt`` along ``direction``, ``dx/dt``, in forward mode; the factors keep it finite near noise."""
    cos, sin = _waves(angle, x)
    along = (cos * sin * direction / SIGMA_DATA, angle.cos() * angle.sin())
    with plain_attention():
        change: Tensor = torch.func.jvp(student, (x / SIGMA_DATA, angle), along)[1]
    return change


def tangent_of(field: Tensor, change: Tensor, x: Tensor, angle: Tensor, direction: Tensor, *, warmup: float) -> Tensor:
    """``cos t df/dt`` of the consistency function where ``warmup`` is 1; where it is 0, how far the student's field is
    from the teacher's.

    Source: sCM, arXiv:2410.11081, section 4.1, times ``cos t``.
    """
    cos, sin = _waves(angle, x)
    nearer = cos.square() * (SIGMA_DATA * field - direction)
    return -nearer - warmup * (cos * sin * x + SIGMA_DATA * change)


def _waves(angle: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    shape = (-1, *[1] * (like.ndim - 1))
    return angle.cos().reshape(shape), angle.sin().reshape(shape)
