"""The matrix with the same directions whose singular values are about one."""

from __future__ import annotations

from torch import Tensor

from sanakit.kernels.newton_schulz import native, reference
from sanakit.kernels.newton_schulz.reference import NEWTON_SCHULZ, NUM_ITERATIONS

__all__ = ["NEWTON_SCHULZ", "NUM_ITERATIONS", "newton_schulz"]


def newton_schulz(x: Tensor) -> Tensor:
    """As the reference, which takes what the native twin does not: all but usual sizes in float32 on the CPU."""
    twin = native if native.fits(x) else reference
    return twin.newton_schulz(x)
