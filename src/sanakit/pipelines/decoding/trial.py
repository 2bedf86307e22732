"""The memory of a network's call, from a trial on a device without memory: exact shapes, no numbers."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Counts the tensors that are made inside the block, but not the weights of ``model``.

    ``peak`` is the largest number of bytes in those alive at once, and ``with_copies`` that with the copies that
    convolutions make of what they read and write, in a layout of their own; ``longest`` is the largest number of values
    in one.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.with_copies = self.longest = 0
        self.known = {tensor.untyped_storage()._cdata for tensor in model.state_dict().values()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.known:
                self._remember(tensor)
        copies = args[0].nbytes + out.nbytes if func is torch.ops.aten.convolution.default else 0
        self.with_copies = max(self.with_copies, self.live + copies)
        return out

    def _remember(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        self.longest = max(self.longest, tensor.numel())
        self.known.add(storage._cdata)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, num_bytes: int) -> None:
        self.known.discard(key)
        self.live -= num_bytes
