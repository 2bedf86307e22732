"""Dtypes: in which sums are kept, and whether bfloat16 saves time on a device."""

from __future__ import annotations

import platform
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# torch is imported where it is needed, so that the names of solvers are known without the seconds that it takes


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in float32, or as they are if that is wider."""
    import torch

    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def has_quick_bfloat16(device: torch.device | str) -> bool:
    """On accelerators, and CPUs that multiply it themselves; on others it takes ten times as long as float32."""
    import torch

    return torch.device(device).type != "cpu" or _cpu_has_it()


def quick_dtype(device: torch.device | str) -> torch.dtype:
    """What frozen networks compute training data in: bfloat16 where that is quick, else float32."""
    import torch

    return torch.bfloat16 if has_quick_bfloat16(device) else torch.float32


def quick_autocast(device: torch.device | str, *, enabled: bool = True) -> torch.autocast:
    """Matrix products in bfloat16 where that is quick."""
    import torch

    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=enabled and has_quick_bfloat16(device))


@cache
def _cpu_has_it() -> bool:
    import torch

    if platform.machine() in ("x86_64", "AMD64"):  # elsewhere AVX-512 emulates it, and AVX2 goes one by one
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
