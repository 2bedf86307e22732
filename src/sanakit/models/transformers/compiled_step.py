"""The network of a denoising step for shapes that stay: blocks compiled once, and on a GPU played back as one graph.

A step of a small picture is a thousand kernels of microseconds, which Python starts no faster than a GPU runs them. A
CUDA graph starts them all at once. It reads and writes the same memory each time, so that what is new is copied there:
latent and time at every step, what depends on the prompt alone once a prompt.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cache, partial

import torch
from torch import Tensor

from sanakit.common.errors import RequestError
from sanakit.kernels.compiler import compiler_problem
from sanakit.kernels.on_gpu import triton_runs_on
from sanakit.models.network import Network
from sanakit.models.transformers.condition import Condition

MAX_RECORDINGS = 4  # shapes that are remembered, each with the memory that its graph works in
MAX_COMPILED = 64  # forms of a block, after which further ones are not compiled
_WARM_UP = 2  # calls before a recording, in which kernels are compiled and libraries begin


Step = Callable[[Tensor, Tensor, Condition], Tensor]
"""A network's ``forward``, or what stands in for it: noisy latents, times and conditions to velocities."""


@cache
def check_compiler(device: str) -> None:
    """RequestError where a denoising step cannot be compiled, or where that does not pay."""
    if torch.device(device).type != "cuda":
        raise RequestError(
            f"a step is compiled for CUDA devices; on {device} leave out compile, which does not pay there"
        )
    if problem := compiler_problem(device):
        raise RequestError(f"a step cannot be compiled here ({problem}); leave out compile")


class CompiledStep:
    """Stands in for the ``forward`` of a network whose weights stay where they are; gradients are for others.

    Every number of rows, size and length of texts is compiled and recorded anew, so texts want one length
    (``Condition.pad``).

    Args:
        transformer: the network.
        backend: of ``torch.compile``.
    """

    def __init__(self, transformer: Network, *, backend: str = "inductor") -> None:
        if transformer.device.type == "cuda":
            triton_runs_on(transformer.device)  # which the compiler cannot find out
        self._transformer = transformer
        self._block = torch.compile(type(transformer.units[0]).forward, dynamic=False, backend=backend)  # all share it
        self._recordings: OrderedDict[Hashable, Recording] = OrderedDict()

    def __call__(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """As of the network."""
        key = (
            latent.shape,
            condition.text_length,
            *condition.perturbed,
            condition.guidance is None,
            condition.clean is None,
        )
        if key not in self._recordings:
            if len(self._recordings) == MAX_RECORDINGS:
                self._recordings.popitem(last=False)
            self._recordings[key] = Recording(self._network, latent, timestep, condition)
        self._recordings.move_to_end(key)
        return self._recordings[key](latent, timestep, condition)

    def _network(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """With blocks that are compiled as long as it lasts; others may use the network as it is."""
        blocks = self._transformer.units
        for block in blocks:
            block.forward = partial(self._block, block)
        try:
            with torch._dynamo.config.patch(recompile_limit=MAX_COMPILED):
                return self._transformer(latent, timestep, condition)
        finally:
            for block in blocks:
                del block.forward


class Recording:
    """One shape: inputs that stay where they are, and what computes with them."""

    def __init__(self, network: Step, latent: Tensor, timestep: Tensor, condition: Condition) -> None:
        self.latent, self.timestep = latent.clone(), timestep.clone()
        self.condition, self.source = copy.deepcopy(condition), condition

        def compute() -> Tensor:
            return network(self.latent, self.timestep, self.condition)

        self.play = _graph_of(compute) if latent.device.type == "cuda" else compute

    def __call__(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """As of the network, in memory of its own."""
        self.latent.copy_(latent)
        self.timestep.copy_(timestep)
        if condition is not self.source:
            for own, new in zip(self.condition.tensors(), condition.tensors(), strict=True):
                own.copy_(new)
            self.source = condition
        return self.play().clone()


def _graph_of(compute: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The same as a CUDA graph; other threads may use the device while it is recorded."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        velocity = compute()

    def play() -> Tensor:
        graph.replay()
        return velocity

    return play
