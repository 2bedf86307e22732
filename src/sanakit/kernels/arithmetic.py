"""What decides the last bits of a number beside the weights: kept as we need it, or told.

A process that runs us may have autocast on, another default dtype, or attention kernels turned off. None of this
reaches what runs within ``own_arithmetic``. What cannot be or should not be undone, such as the processor and TF32,
``arithmetic_facts`` tells, and a record keeps.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sanakit.kernels.native import native_library
from sanakit.kernels.on_gpu import triton_runs_on

MAX_THREADS = 256
"""So many can be asked for by a file; more would only take memory."""

_ATTENTION = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH, SDPBackend.CUDNN_ATTENTION)
_VARIABLES = (
    "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE",
    "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE",
    "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip


@contextmanager
def own_arithmetic(threads: int | None = None) -> Iterator[None]:
    """Within it nothing is cast, float32 is the default, and torch chooses the kernels of attention.

    Args:
        threads: of the CPU while it lasts; None for as many as there are.
    """
    with ExitStack() as stack:
        for device_type in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(device_type):
                stack.enter_context(torch.autocast(device_type, enabled=False))
        if not all(_attention_switches()):
            stack.enter_context(sdpa_kernel(list(_ATTENTION)))
        cuda: Any = torch.backends.cuda
        if cuda.fp16_bf16_reduction_math_sdp_allowed():  # as ComfyUI has it; on the CPU too, whatever its name says
            stack.callback(cuda.allow_fp16_bf16_reduction_math_sdp, True)
            cuda.allow_fp16_bf16_reduction_math_sdp(False)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.backends.mkldnn.is_available() and not torch.backends.mkldnn.enabled:
            stack.callback(_set_mkldnn, False)
            _set_mkldnn(True)
        if (dtype := torch.get_default_dtype()) != torch.float32:
            stack.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        if threads is not None and threads != (before := torch.get_num_threads()):
            stack.callback(torch.set_num_threads, before)
            torch.set_num_threads(threads)
        yield


def arithmetic_facts(device: torch.device) -> dict[str, str]:
    """What the last bits depend on beside threads and versions, by what a person calls it.

    Settings that torch begins with are left out.
    """
    if device.type == "cuda":
        facts = {"GPU": torch.cuda.get_device_name(device), "cuDNN": str(torch.backends.cudnn.version())}
        if triton_runs_on(device):  # since 0.2.0
            facts["kernels on the GPU"] = f"Triton {version('triton')}"
    else:
        facts = {"instruction set": torch.backends.cpu.get_cpu_capability(), "processor": _processor()}
        facts["cross-attention to short texts"] = "folded"  # since 0.2.0
        if (library := native_library()) is not None:  # which computes some of what torch would
            facts["instruction set of native kernels"] = library.variant
    facts |= {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    return facts | {name: value for name, (value, usual) in _switches().items() if value != usual}


def _switches() -> dict[str, tuple[str, str]]:
    """By name: what it is, and what it is where nobody changed it."""
    backends: Any = torch.backends  # of which torch's own types know a part

    def told(precision: str) -> str:
        """None is as precise as ieee, where nothing above says otherwise."""
        return "none" if precision == "ieee" and backends.fp32_precision in ("none", "ieee") else precision

    return {
        "precision of float32": (told(backends.fp32_precision), "none"),
        "precision of float32 products on the CPU": (told(backends.mkldnn.matmul.fp32_precision), "none"),
        "precision of float32 convolutions on the CPU": (told(backends.mkldnn.conv.fp32_precision), "none"),
        "precision of float32 products on CUDA": (told(backends.cuda.matmul.fp32_precision), "none"),
        "precision of float32 convolutions on CUDA": (backends.cudnn.conv.fp32_precision, "tf32"),
        "sums of float16 products on CUDA": (
            "float16" if backends.cuda.matmul.allow_fp16_accumulation else "float32", "float32"
        ),
        "cuDNN's search for kernels": (_on(backends.cudnn.benchmark), "off"),
        "deterministic algorithms": (_on(torch.are_deterministic_algorithms_enabled()), "off"),
        "denormal numbers": ("taken as 0" if _flushes_denormals() else "kept", "kept"),
    }  # fmt: skip


def _set_mkldnn(on: bool) -> None:
    """Alone; its ``flags`` would set others beside it."""
    torch._C._set_mkldnn_enabled(on)


def _on(switch: bool) -> str:
    return "on" if switch else "off"


def _flushes_denormals() -> bool:
    return not bool((torch.full((1,), 1e-39, dtype=torch.float32, device="cpu") * 0.5).item())


def _attention_switches() -> tuple[bool, ...]:
    cuda = torch.backends.cuda
    return (
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        cuda.math_sdp_enabled(),
        cuda.cudnn_sdp_enabled(),
    )


def _processor() -> str:
    """Its model as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
