"""What a training step needs at its peak, found by running it on tensors without data: nothing is allocated.

Shapes, dtypes and lifetimes are PyTorch's own (fake tensors), so autocast's copies, recomputed activations and what
each operator keeps for the backward pass are all in. What is not: the workspace of kernels, and gaps of an allocator.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sanakit.models.network import units_of
from sanakit.training.optimizers import OptimizerConfig, build_optimizers
from sanakit.training.run.run_config import Precision
from sanakit.training.step.parallel import attention_for, autocast, checkpoint_activations

LossOfBatch = Callable[[nn.Module, int, torch.device], Tensor]
"""A model, a number of samples and a device to a loss; it makes its own inputs, of any values, on that device."""


_MEASURED_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes beside weights and whole gradients, at the peaks of the two halves of a step."""

    forward: int
    backward: int

    @property
    def activations(self) -> int:
        return max(self.forward, self.backward)


@dataclass(frozen=True, slots=True)
class OptimizerMemory:
    """Bytes that an optimiser keeps, and what an update needs for a moment beside them."""

    state: int
    update: int


MemoryT = TypeVar("MemoryT", StepMemory, OptimizerMemory)


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of tensors made within, while they live.

    Args:
        present: tensors that were there before; their memory is counted elsewhere.
    """

    def __init__(self, present: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: dict[int, weakref.finalize[Any, Any]] = {}
        for tensor in present:
            self._watch(tensor.untyped_storage(), 0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        if id(storage) not in self._known:
            self._watch(storage, storage.nbytes())

    def _watch(self, storage: torch.UntypedStorage, size: int) -> None:
        self._known[id(storage)] = weakref.finalize(storage, self._forget, id(storage), size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _forget(self, key: int, size: int) -> None:
        del self._known[key]
        self.live -= size


def measure_step(
    model: nn.Module,
    loss: LossOfBatch,
    batch_size: int,
    *,
    precision: Precision,
    activation_checkpointing: bool,
    device: str,
) -> StepMemory:
    """The memory of one step of ``model``, which is neither changed nor copied and may be on the meta device.

    Gradients count as there from the start, as with accumulation. Of a deep transformer the first blocks are measured:
    each one more adds the same.

    Args:
        loss: of a batch; called with a twin of the model that has no data.
        device: of the run; what operators keep differs between a CPU and a GPU.
    """

    def measured(num_blocks: int | None) -> StepMemory:
        with fake_tensors(device) as place:
            twin = twin_of(model, place, num_blocks=num_blocks)
            if activation_checkpointing:
                checkpoint_activations(twin)
            return _measure(twin, loss, batch_size, precision, place)

    return _extended(model, measured)


def _extended(model: nn.Module, measured: Callable[[int | None], MemoryT]) -> MemoryT:
    """What ``measured`` finds of all blocks; of a deep transformer, from its first ones."""
    more = len(_equal_units(model)) - _MEASURED_BLOCKS
    if more <= 0:
        return measured(None)
    first, second = measured(_MEASURED_BLOCKS - 1), measured(_MEASURED_BLOCKS)
    return type(second)(*(b + more * (b - a) for a, b in zip(astuple(first), astuple(second), strict=True)))


def _equal_units(model: nn.Module) -> nn.ModuleList:
    """The list of a model's units; an empty one if they do not lie in one list, or need different memory."""
    units = units_of(model)
    kinds = {tuple((name, p.shape, p.dtype) for name, p in unit.named_parameters()) for unit in units}
    lists = (module for module in model.modules() if isinstance(module, nn.ModuleList) and tuple(module) == units)
    return next(lists, nn.ModuleList()) if len(kinds) == 1 else nn.ModuleList()


def _measure(
    twin: nn.Module, loss: LossOfBatch, batch_size: int, precision: Precision, place: torch.device
) -> StepMemory:
    with LiveMemory(_with_gradients(twin)) as step, attention_for(place.type):
        with autocast(place.type, precision):
            value = loss(twin, batch_size, place)
        forward, step.peak = step.peak, step.live
        value.backward()
    return StepMemory(forward, step.peak)


def measure_optimizer(model: nn.Module, config: OptimizerConfig, *, device: str) -> OptimizerMemory:
    """The memory of an optimiser of the model's trained parameters, from two updates on the meta device."""

    def measured(num_blocks: int | None) -> OptimizerMemory:
        twin = twin_of(model, torch.device("meta"), num_blocks=num_blocks)
        with LiveMemory(_with_gradients(twin)) as memory:
            optimizers = build_optimizers(twin, config, learning_rate=1e-3)
            for optimizer in optimizers:
                if torch.device(device).type == "cuda":  # where torch updates all tensors at once, with room for all
                    for group in optimizer.param_groups:
                        group.update({"foreach": True} if "foreach" in group else {})
                optimizer.step()
            state, memory.peak = memory.live, memory.live
            for optimizer in optimizers:
                optimizer.step()
        return OptimizerMemory(state, memory.peak - state)

    return _extended(model, measured)


def _with_gradients(twin: nn.Module) -> list[Tensor]:
    """Give every trained parameter a gradient, and list all that is there then."""
    trained = [p for p in twin.parameters() if p.requires_grad]
    for p in trained:
        p.grad = torch.zeros_like(p)
    return [*twin.parameters(), *twin.buffers(), *(p.grad for p in trained if p.grad is not None)]


@contextmanager
def fake_tensors(device: str) -> Iterator[torch.device]:
    """Within, every new tensor is one without data; gives the device to name, which needs support but no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # a second of imports

    kind = torch.device(device).type
    place = torch.device("cpu") if kind == "cuda" and not torch.cuda.is_available() else torch.device(kind)
    with FakeTensorMode():
        yield place


def twin_of(model: nn.Module, device: torch.device, *, num_blocks: int | None = None) -> nn.Module:
    """A copy whose tensors have the shapes, strides and dtypes of the model's and no data; within `fake_tensors`.

    Args:
        num_blocks: of the copy; None for all.
    """
    blocks = _equal_units(model)
    left_out = {id(tensor) for block in blocks[num_blocks:] for tensor in _tensors(block)} if num_blocks else set()
    memo: dict[int, Any] = {
        id(tensor): _without_data(tensor, device) for tensor in _tensors(model) if id(tensor) not in left_out
    }
    if num_blocks:
        memo[id(blocks)] = nn.ModuleList(copy.deepcopy(block, memo) for block in blocks[:num_blocks])
    return copy.deepcopy(model, memo)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _without_data(tensor: Tensor, device: torch.device) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
