"""Whether Triton twins of kernels may compute: on a GPU, where Triton is installed and nobody wants gradients."""

from __future__ import annotations

import importlib.util
import logging

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

KIND = "cuda"
MIN_CAPABILITY = (8, 0)  # the first with bfloat16 products
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_CHOSEN: dict[int, bool] = {}  # by the number of a device


def takes(*tensors: Tensor) -> bool:
    """Whether Triton twins may compute with these activations, all of one dtype, and parameters beside them.

    Triton starts its kernels on the current device, so that tensors of another one are left to torch.
    """
    if not takes_plain(*tensors):
        return False
    device = tensors[0].device
    if torch.compiler.is_compiling():  # which cannot follow what is asked there
        return _CHOSEN.get(device.index or 0, False)
    return triton_runs_on(device)


def takes_plain(*tensors: Tensor) -> bool:
    """Whether these are what twins for GPUs take: on one, of one dtype, with memory, and without gradients."""
    first = tensors[0]
    if first.device.type != KIND or first.dtype not in _DTYPES or torch.is_autocast_enabled(KIND):
        return False
    if torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
        return False
    if any(each.device != first.device or each.dtype != first.dtype for each in tensors) or not first.numel():
        return False
    return torch.compiler.is_compiling() or all(map(_is_plain, tensors))


def triton_runs_on(device: torch.device) -> bool:
    """Whether it does on this device, which is the current one; told to the log once."""
    index = device.index or 0
    if index not in _CHOSEN:
        _CHOSEN[index] = has_triton() and torch.cuda.get_device_capability(device) >= MIN_CAPABILITY
        logger.info("kernels on %s: %s", device, "Triton twins" if _CHOSEN[index] else "torch alone")
    return _CHOSEN[index] and index == torch.cuda.current_device()


def has_triton() -> bool:
    """Whether it is installed, as it is with every torch for CUDA on Linux."""
    return importlib.util.find_spec("triton") is not None


def _is_plain(x: Tensor) -> bool:
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(x)  # by vmap and grad of torch.func: it has no memory
    return type(x) in (Tensor, torch.nn.Parameter) and x.layout == torch.strided and not wrapped
