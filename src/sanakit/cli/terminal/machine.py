"""What this machine has, found out without changing anything."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanakit.common.devices import num_cores
from sanakit.common.free_memory import free_memory, total_memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """A device beside the CPU; ``memory`` in bytes, None where it shares the machine's."""

    kind: str
    name: str
    memory: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Bytes are None where the system does not tell."""

    system: str
    python: str
    num_cores: int
    memory: int | None
    free_memory: int | None
    free_disk: int | None
    torch: str | None
    torch_problem: str
    accelerators: tuple[Accelerator, ...]
    gigaflops: float | None  # of a float32 matrix product, measured
    native_kernels: str = ""  # the instruction set that they use; "" for none
    native_reason: str = ""  # why there are none


def look_at_machine(cache: Path) -> Machine:
    """Imports torch, and times a matrix product for half a second."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        num_cores=num_cores(),
        memory=total_memory(),
        free_memory=free_memory(),
        free_disk=free_disk(cache),
        **_look_at_torch(),
    )


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def free_disk(folder: Path) -> int | None:
    """Bytes free where ``folder`` is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _look_at_torch() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways, and telling so is this command's job
        reason = str(error).partition("\n")[0] or "no reason given"
        problem = f"{type(error).__name__}: {reason}"
        return {"torch": None, "torch_problem": problem, "accelerators": (), "gigaflops": None}
    found: list[Accelerator] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            found.append(Accelerator(kind="cuda", name=gpu.name, memory=gpu.total_memory))
    if torch.backends.mps.is_available():
        found.append(Accelerator(kind="mps", name="Apple GPU", memory=None))
    from sanakit.kernels.native.library import find_library

    facts = {"torch": torch.__version__, "torch_problem": "", "accelerators": tuple(found)}
    library, reason = find_library()
    native = {"native_kernels": library.variant if library else "", "native_reason": reason}
    return facts | native | {"gigaflops": _measure_gigaflops()}


def _measure_gigaflops() -> float:
    """The best of half a second of products, so that other programs' load counts little."""
    import torch

    side = 1024
    a, best = torch.ones(side, side), float("inf")
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9
