"""The same in the native library, in fewer and smaller products."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_void_p

from torch import Tensor

from sanakit.kernels.native.library import MULTIPLE, address, native_library, takes
from sanakit.kernels.newton_schulz.reference import NEWTON_SCHULZ, NUM_ITERATIONS

LARGEST = 512
"""Of the smaller side; beyond it torch's products are quicker for being blocked for all caches."""


class _Arguments(ctypes.Structure):
    """``struct NewtonSchulz`` of ``native/source/sanakit.h``."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "y")),
        *((name, c_int64) for name in ("rows", "columns")),
        ("coefficients", c_float * 3),
        ("iterations", c_int32),
    )


def fits(x: Tensor) -> bool:
    """Whether the native twin is here and takes this: float32 on the CPU, of usual sizes."""
    usual = takes(x) and all(size and size % MULTIPLE == 0 for size in x.shape)
    return usual and min(x.shape) <= LARGEST


def newton_schulz(x: Tensor) -> Tensor:
    """As the reference, of what fits."""
    library = native_library()
    assert library is not None
    x, y = x.contiguous(), x.new_empty(x.shape)
    coefficients = (c_float * 3)(*NEWTON_SCHULZ)
    library.call("newton_schulz", _Arguments(address(x), address(y), *x.shape, coefficients, NUM_ITERATIONS))
    return y
