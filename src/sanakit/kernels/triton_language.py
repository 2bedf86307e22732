"""Triton, where it is installed. Elsewhere its kernels can be imported and read, and ``on_gpu`` lets none run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

triton: Any
tl: Any
try:
    import triton
    import triton.language as tl
except ImportError:
    triton, tl = SimpleNamespace(jit=lambda kernel: kernel), None

_INTERPRETED = tl is not None and bool(triton.knobs.runtime.interpret)


def product_dtype(dtype: torch.dtype) -> Any:
    """Of Triton's, in which a kernel multiplies such activations: their own. The interpreter reads bfloat16 as whole
    numbers there, and has float32, which holds the same numbers."""
    if _INTERPRETED and dtype == torch.bfloat16:
        return tl.float32
    return {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}[dtype]
