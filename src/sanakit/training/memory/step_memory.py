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

from sanakit.models.network import Network
from sanakit.training.optimizers.build import build_optimizers
from sanakit.training.optimizers.config import OptimizerConfig
from sanakit.training.run.run_config import Precision
from sanakit.training.step.parallel import attention_for, autocast, checkpoint_activations

LossOfBatch = Callable[[nn.Module, int, torch.device], Tensor]
"""A model, a number of samples and a device to a loss; it makes its own inputs, of any values, on that device."""

_MEASURED_BLOCKS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSettings:
    """What trades memory for speed, of one process."""

    batch_size: int  # samples of a micro-batch
    accumulation: int = 1
    precision: Precision = "bf16"
    activation_checkpointing: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A model and what it learns, whose memory is planned.

    Attributes:
        name: for messages, such as a stage's.
        model: trained where ``requires_grad``; on any device, the meta device too, and never touched.
        loss: of a batch of a size.
        optimizer: whose state is counted.
        learner: the part of it that is averaged and kept in checkpoints, such as an adapter; None for all of it.
        averaged: the part of the learner whose running average is kept; None for all of it.
        frozen: bytes of networks beside it, such as encoders that are not released.
        shards: processes that share weights, gradients and state (FSDP); 1 for a copy on each.
        device: of the run.
    """

    name: str
    model: nn.Module
    loss: LossOfBatch
    optimizer: OptimizerConfig
    learner: nn.Module | None = None
    averaged: nn.Module | None = None
    frozen: int = 0
    shards: int = 1
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class StepMemory:
    """Bytes beside weights and whole gradients, at the peaks of the two halves of a step."""

    forward: int
    backward: int


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
                storage = leaf.untyped_storage()
                if id(storage) not in self._known:
                    self._watch(storage, storage.nbytes())
        return out

    def _watch(self, storage: torch.UntypedStorage, size: int) -> None:
        self._known[id(storage)] = weakref.finalize(storage, self._forget, id(storage), size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _forget(self, key: int, size: int) -> None:
        del self._known[key]
        self.live -= size


def measure_step(work: Workload, settings: StepSettings) -> StepMemory:
    """The memory of one step of the model, by a twin of it that has no data.

    Gradients count as there from the start, as with accumulation. Of a deep transformer the first blocks are measured:
    each one more adds the same. What operators keep differs between a CPU and a GPU.
    """

    def measured(num_blocks: int | None) -> StepMemory:
        with fake_tensors(work.device) as place:
            twin = twin_of(work.model, place, num_blocks=num_blocks)
            if settings.activation_checkpointing:
                checkpoint_activations(twin)
            with LiveMemory(_with_gradients(twin)) as step, attention_for(place.type):
                with autocast(place.type, settings.precision):
                    value = work.loss(twin, settings.batch_size, place)
                forward, step.peak = step.peak, step.live
                value.backward()
            return StepMemory(forward, step.peak)

    return _extended(work.model, measured)


def _extended(model: nn.Module, measured: Callable[[int | None], MemoryT]) -> MemoryT:
    """What ``measured`` finds of all blocks; of deep transformers, which grow together, from their first ones."""
    lists = _equal_units(model)
    more = len(lists[0]) - _MEASURED_BLOCKS if lists else 0
    if more <= 0:
        return measured(None)
    first, second = measured(_MEASURED_BLOCKS - 1), measured(_MEASURED_BLOCKS)
    return type(second)(*(b + more * (b - a) for a, b in zip(astuple(first), astuple(second), strict=True)))


def _equal_units(model: nn.Module) -> list[nn.ModuleList]:
    """The list of the units of each network in a model; none if one's units do not lie in a list or need different
    memory, or if the networks differ in depth."""
    networks = [module for module in model.modules() if isinstance(module, Network) and module.units]
    found = []
    for network in networks:
        kinds = {tuple((name, p.shape, p.dtype) for name, p in unit.named_parameters()) for unit in network.units}
        lists = (each for each in network.children() if isinstance(each, nn.ModuleList))
        blocks = next((each for each in lists if tuple(each) == network.units), None)
        if blocks is None or len(kinds) > 1:
            return []
        found.append(blocks)
    return found if len({len(blocks) for blocks in found}) == 1 else []


def measure_optimizer(work: Workload) -> OptimizerMemory:
    """The memory of an optimiser of the model's trained parameters, from two updates on the meta device."""
    on_gpu = torch.device(work.device).type == "cuda"

    def measured(num_blocks: int | None) -> OptimizerMemory:
        twin = twin_of(work.model, torch.device("meta"), num_blocks=num_blocks)
        with LiveMemory(_with_gradients(twin)) as memory:
            optimizers = build_optimizers(twin, work.optimizer, learning_rate=1e-3)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    if "foreach" in group and on_gpu:  # torch updates all tensors at once, with room for all
                        group["foreach"] = True
                optimizer.step()
            state, memory.peak = memory.live, memory.live
            for optimizer in optimizers:
                optimizer.step()
        return OptimizerMemory(state, memory.peak - state)

    return _extended(work.model, measured)


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
    lists = _equal_units(model) if num_blocks else []
    left_out = {id(tensor) for blocks in lists for block in blocks[num_blocks:] for tensor in _tensors(block)}
    memo: dict[int, Any] = {
        id(tensor): _without_data(tensor, device) for tensor in _tensors(model) if id(tensor) not in left_out
    }
    for blocks in lists:
        memo[id(blocks)] = nn.ModuleList(copy.deepcopy(block, memo) for block in blocks[:num_blocks])
    return copy.deepcopy(model, memo)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _without_data(tensor: Tensor, device: torch.device) -> Tensor:
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
