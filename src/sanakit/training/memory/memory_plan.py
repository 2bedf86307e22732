"""How much memory a run will need, before it begins; and the settings with which it fits into a given one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from sanakit.common.byte_counts import readable_bytes
from sanakit.common.errors import RequestError
from sanakit.models.network import units_of
from sanakit.training.memory.step_memory import OptimizerMemory, StepSettings, Workload, measure_optimizer, measure_step
from sanakit.training.optimizers.config import OptimizerConfig
from sanakit.training.run.run_config import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPlan:
    """Bytes on one process, at the peak of a step."""

    settings: StepSettings
    weights: int
    gradients: int
    optimizer: int
    ema: int
    frozen: int
    activations: int  # and what the backward pass, or the update if that is more, needs for a moment

    @property
    def parts(self) -> tuple[int, ...]:
        return self.weights, self.gradients, self.optimizer, self.ema, self.frozen, self.activations

    @property
    def total(self) -> int:
        return sum(self.parts)

    def table(self) -> str:
        """A line per part, for a log."""
        s = self.settings
        kept = "recomputed" if s.activation_checkpointing else "kept"
        activations = f"activations of {s.batch_size}, {s.precision}, {kept}"
        parts = ("weights", "gradients", "optimizer state", "averaged weights", "frozen networks", activations, "total")
        names = dict(zip(parts, (*self.parts, self.total), strict=True))
        width = max(map(len, names))
        return "\n".join(f"{name:<{width}} {readable_bytes(size, decimals=1):>10}" for name, size in names.items())


def plan_memories(works: Sequence[Workload], settings: Sequence[StepSettings]) -> list[MemoryPlan]:
    """What one process needs for a step of each workload; takes seconds, allocates nothing, touches no model."""
    return [planner.plan(each) for planner, each in zip(_planners(works), settings, strict=True)]


def fit_memory(
    works: Sequence[Workload], settings: Sequence[StepSettings], budget: int, *, bf16: bool = True
) -> list[MemoryPlan]:
    """Plans of all stages of a run within ``budget`` bytes, with the samples of a step unchanged.

    Tried in the order of what they cost in speed: smaller micro-batches with more accumulation; bfloat16 products
    instead of float32 ones, if ``bf16``; activations that are computed again in the backward pass. Precision and
    recomputation are one choice for all stages.

    Raises:
        RequestError: nothing fits; it names the least memory with which a run would.
    """
    planners, least = _planners(works), 0
    for precision, checkpointing in _choices(settings, bf16):
        plans = []
        for planner, given in zip(planners, settings, strict=True):
            wanted = replace(given, precision=precision, activation_checkpointing=checkpointing)
            plans.append(_largest_batch(planner, wanted, budget))
        need = max(plan.total for plan in plans)
        if need <= budget:
            return plans
        least = min(least or need, need)
    room, needed = (readable_bytes(size, decimals=1) for size in (budget, least))
    raise RequestError(
        f"the run does not fit into {room}: with micro-batches of one sample and recomputed activations it still "
        f"needs {needed}; give it that much, a smaller model, another optimizer or more processes"
    )


def _choices(settings: Sequence[StepSettings], bf16: bool) -> Iterator[tuple[Precision, bool]]:
    """Precision and recomputation, the fastest first; what was asked for is not undone."""
    precision, checkpointing = settings[0].precision, settings[0].activation_checkpointing
    precisions: list[Precision] = [precision] if precision == "bf16" or not bf16 else [precision, "bf16"]
    for recomputed in (False, True):
        if recomputed >= checkpointing:
            yield from ((each, recomputed) for each in precisions)


def _largest_batch(planner: _Planner, settings: StepSettings, budget: int) -> MemoryPlan:
    """The plan with the largest micro-batch that fits, or with the smallest if none does."""
    plan = planner.plan(settings)
    if plan.total <= budget:
        return plan
    samples = settings.batch_size * settings.accumulation
    sizes = [size for size in range(settings.batch_size - 1, 0, -1) if samples % size == 0]
    low, high = 0, len(sizes) - 1  # memory grows with the size: halve the list
    best: MemoryPlan | None = None
    while low <= high:
        middle = (low + high) // 2
        trial = replace(settings, batch_size=sizes[middle], accumulation=samples // sizes[middle])
        plan = planner.plan(trial)
        if plan.total <= budget:
            best, high = plan, middle - 1
        else:
            low = middle + 1
    return best or plan


def _planners(works: Sequence[Workload]) -> list[_Planner]:
    """Stages that train one model with one optimiser have it measured once."""
    measured: dict[tuple[int, OptimizerConfig, str], OptimizerMemory] = {}
    planners = []
    for work in works:
        key = id(work.model), work.optimizer, work.device
        if key not in measured:
            measured[key] = measure_optimizer(work)
        planners.append(_Planner(work, measured[key]))
    return planners


class _Planner:
    """Plans of one workload; what does not depend on the settings is measured once."""

    def __init__(self, work: Workload, optimizer: OptimizerMemory) -> None:
        self.work, self.optimizer, model = work, optimizer, work.model
        self.gathered = 0
        if work.shards > 1:  # whole blocks for a moment: the one that runs and the one that is fetched ahead
            parts = units_of(model) or tuple(model.children())
            self.gathered = 2 * max(map(size_of, parts), default=0)

    def plan(self, settings: StepSettings) -> MemoryPlan:
        work, shards, step = self.work, self.work.shards, measure_step(self.work, settings)
        learner = work.model if work.learner is None else work.learner
        return MemoryPlan(
            settings=settings,
            weights=size_of(learner) // shards + self.gathered,
            gradients=sum(_bytes(p) for p in work.model.parameters() if p.requires_grad) // shards,
            optimizer=self.optimizer.state // shards,
            ema=4 * sum(p.numel() for p in (work.averaged or learner).parameters()) // shards,  # float32
            frozen=work.frozen + (size_of(work.model) - size_of(learner)) // shards,
            activations=max(step.forward, step.backward, self.optimizer.update // shards),
        )


def size_of(model: nn.Module) -> int:
    """Bytes of weights and buffers."""
    return sum(map(_bytes, [*model.parameters(), *model.buffers()]))


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
