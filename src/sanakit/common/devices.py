"""Devices: which there are, in which dtypes sums are kept and products are quick on them; how many CPU threads there
are to be, and how they wait."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sanakit.common.errors import RequestError
from sanakit.common.free_memory import CGROUP, PROC, control_groups

if TYPE_CHECKING:
    import torch

# torch is imported where it is needed, so that the names of solvers are known without the seconds that it takes


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in float32, or as they are if that is wider."""
    import torch

    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """From the CPU to a device, without waiting for what a GPU is still to do."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


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


def resolve_device(device: torch.device | str) -> str:
    """The name of a device that torch can use here; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        RequestError: there is no such device; the sentence says which there are.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    kind, _, index = str(device).partition(":")
    if isinstance(device, (str, torch.device)) and (index or "0").isdecimal() and int(index or 0) < counts.get(kind, 0):
        return str(device)
    present = ["cpu", *(f"cuda:{number}" for number in range(counts["cuda"])), *(["mps"] * counts["mps"])]
    raise RequestError(
        f"device={device} is not here; this machine and its torch {torch.__version__} have {', '.join(present)}"
    )


def num_cores(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: those of the machine, or fewer by its affinity or by the processor time that a
    container or job is given (``docker --cpus 2``); a part of a core counts as one."""
    return min([allowed_cores(), *(max(math.ceil(quota), 1) for quota in _quotas(proc, cgroup))])


def allowed_cores() -> int:
    """Of the machine, or fewer by this process's affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(proc: Path, cgroup: Path) -> Iterator[float]:
    """Seconds of processor time a second, of every control group that limits them."""
    for folder, version in control_groups("cpu", proc, cgroup):
        with suppress(OSError, ValueError, ZeroDivisionError):  # no such file, and "max"
            if version == 2:
                quota, period = (int(word) for word in (folder / "cpu.max").read_text().split())
            else:
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            if quota > 0:  # -1 is none
                yield quota / period


def prepare_threads() -> None:
    """For before torch is loaded, which starts threads. A user's own settings stay.

    Left to themselves they spin while they wait for each other, and where another program shares the cores a small
    model then takes ten times as long. And there are as many as cores, which a container that is given the time of a
    few stops together, again and again.
    """
    if "torch" in sys.modules:  # it would reach other programs only
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if (cores := num_cores()) < allowed_cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))
