"""The TrigFlow view of a network of straight noise paths: an angle in place of the noise level.

TrigFlow noises a latent as ``x = cos(t) X + sin(t) Z``, where picture ``X`` and noise ``Z`` both have the standard
deviation ``SIGMA_DATA``. Over that deviation, and scaled by ``1 / (cos t + sin t)``, ``x`` lies on the straight path at
``sigma = sin t / (cos t + sin t)``, so that any velocity network is one of TrigFlow too.

Source: SANA-Sprint, arXiv:2503.09641, proposition 3.1, with its square roots multiplied out; TrigFlow:
arXiv:2410.11081.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SIGMA_DATA = 0.5
MAX_ANGLE = math.pi / 2  # all noise

Field = Callable[["Tensor", "Tensor"], "Tensor"]
"""Of a latent ``(B, ...)`` and one level of noise a row ``(B,)``, a direction of the latent's shape."""


def path_scale(angle: float) -> float:
    """What takes a TrigFlow latent of unit deviation to the straight path, in [0.707, 1]."""
    return 1.0 / (math.cos(angle) + math.sin(angle))


def sigma_of(angle: float) -> float:
    """The noise level of an angle."""
    return math.sin(angle) * path_scale(angle)


def angle_of(sigma: float) -> float:
    """The angle of a noise level."""
    return math.atan2(sigma, 1.0 - sigma)


def trigflow(velocity: Field) -> Field:
    """``F(u, t)`` of a velocity ``v(latent, sigma)``, where ``SIGMA_DATA * F(x / SIGMA_DATA, t)`` is ``dx/dt``.

    Angles ``(B,)`` are best float32 or wider; ``velocity`` casts to the dtype of its network.
    """

    def field(latent: Tensor, angle: Tensor) -> Tensor:
        cos, sin = (wave.reshape(-1, *[1] * (latent.ndim - 1)) for wave in (angle.cos(), angle.sin()))
        scale = 1.0 / (cos + sin)  # (B, 1, ...)
        return scale * ((cos - sin) * latent + velocity(scale * latent, (scale * sin).flatten()))

    return field


def consistency(field: Field) -> Field:
    """``f(x, t) = cos(t) x - sin(t) SIGMA_DATA F(x / SIGMA_DATA, t)``, the clean latent that ``x`` implies, both of
    deviation ``SIGMA_DATA``; ``f(x, 0) = x`` whatever the network says."""

    def clean(x: Tensor, angle: Tensor) -> Tensor:
        cos, sin = (wave.reshape(-1, *[1] * (x.ndim - 1)) for wave in (angle.cos(), angle.sin()))
        return cos * x - sin * SIGMA_DATA * field(x / SIGMA_DATA, angle)

    return clean
