"""Which layers of a transformer to leave wider, so that a model keeps to a size or to an error.

Each layer is quantized alone, and the network's velocity compared with the plain one's at noise levels of a real
picture. Then all layers begin with 4 bits, and the step to 8 bits, or to 16, that takes most error away for each byte
comes first. A prefix of these steps is chosen: the longest within a size, or the shortest within an error of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sanakit.common.byte_counts import readable_bytes
from sanakit.common.errors import RequestError
from sanakit.evaluation.reports.quantized import distances, draw_each
from sanakit.models.transformers.condition import Condition
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.codecs import num_bytes
from sanakit.quantization.quantize import Quantization, quantize_layers_, schemes_of
from sanakit.quantization.schemes import BFloat16, Int4Weight, Int8Weight, Scheme

LADDER: tuple[Scheme, ...] = (Int4Weight(), Int8Weight(), BFloat16())
"""From the fewest bits up; the last is what published weights are stored in."""
MAX_CALLS = 4  # of the network, spread over the steps of a picture

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One layer from one scheme of ``LADDER`` to a wider one: bytes that it costs, relative square error it saves."""

    layer: str
    scheme: Scheme
    num_bytes: int
    saved: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """All layers in the narrowest scheme, and the steps that widen them, best first."""

    lowest: Quantization
    steps: tuple[Step, ...]
    num_bytes: int  # of the whole network with all layers in the narrowest scheme and the rest in bfloat16

    def widened(self, count: int) -> Quantization:
        """After so many steps."""
        layers = {**self.lowest.layers, **{step.layer: step.scheme for step in self.steps[:count]}}
        return replace(self.lowest, layers=layers)

    def bytes_after(self, count: int) -> int:
        return self.num_bytes + sum(step.num_bytes for step in self.steps[:count])

    def within(self, most_bytes: int) -> Quantization:
        """The widest mixture of so many bytes; RequestError where not even the narrowest fits."""
        if self.num_bytes > most_bytes:
            raise RequestError(
                f"the transformer takes {readable_bytes(self.num_bytes)} with all layers in {LADDER[0].name}, which is "
                f"more than a budget of {readable_bytes(most_bytes)}; ask for more"
            )
        fitting = (count for count in range(len(self.steps), -1, -1) if self.bytes_after(count) <= most_bytes)
        return self.widened(next(fitting))


def find_mixture(pipeline: TextToImagePipeline, request: GenerationRequest) -> Mixture:
    """Measure every layer of a pipeline's plain transformer on the steps of one picture."""
    network = pipeline.bundle.transformer
    lowest = schemes_of(network, LADDER[0])
    with kept_calls(network) as calls:
        pipeline([request], output="latent")
    errors = layer_errors(network, calls[:: max(len(calls) // MAX_CALLS, 1)][:MAX_CALLS], list(lowest.layers))
    shapes = {name: _shape(network, name) for name in lowest.layers}
    total = 2 * sum(parameter.numel() for parameter in network.parameters())
    saved = sum(num_bytes(LADDER[-1], shape) - num_bytes(LADDER[0], shape) for shape in shapes.values())
    return Mixture(lowest=lowest, steps=tuple(best_steps(errors, shapes)), num_bytes=total - saved)


@torch.no_grad()
def layer_errors(network: nn.Module, calls: Sequence[Call], layers: Sequence[str]) -> dict[str, list[float]]:
    """Of each layer alone in each scheme of ``LADDER``: square error of the outputs over their energy."""
    plain: list[Tensor] = [network(*args, **named) for args, named in calls]
    energy = sum(float(each.double().square().sum()) for each in plain)
    found: dict[str, list[float]] = {}
    for name in layers:
        parent, _, leaf = name.rpartition(".")
        holder, layer = network.get_submodule(parent), network.get_submodule(name)
        found[name] = []
        for scheme in LADDER:
            quantize_layers_(network, Quantization(layers={name: scheme}))
            outputs = [network(*args, **named) for args, named in calls]
            setattr(holder, leaf, layer)
            differences = (float((a - b).double().square().sum()) for a, b in zip(outputs, plain, strict=True))
            found[name].append(sum(differences) / energy)
    return found


def best_steps(errors: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Step]:
    """Every step of every layer, each layer's in order, the one that saves most for a byte first."""
    waiting = {name: _steps_of(name, errors[name], shapes[name]) for name in errors}
    ahead = {name: step for name, steps in waiting.items() if (step := next(steps, None)) is not None}
    while ahead:
        name = max(ahead, key=lambda each: ahead[each].saved / ahead[each].num_bytes)
        yield ahead.pop(name)
        if (step := next(waiting[name], None)) is not None:
            ahead[name] = step


def _steps_of(name: str, errors: Sequence[float], shape: tuple[int, ...]) -> Iterator[Step]:
    sizes = [num_bytes(scheme, shape) for scheme in LADDER]
    for index in range(1, len(LADDER)):
        size, saved = sizes[index] - sizes[index - 1], errors[index - 1] - errors[index]
        yield Step(layer=name, scheme=LADDER[index], num_bytes=max(size, 1), saved=saved)


def narrowest_within(
    pipeline: TextToImagePipeline,
    mixture: Mixture,
    requests: Sequence[GenerationRequest],
    least_db: float,
    told: Callable[[str], object] = lambda text: None,
) -> Quantization:
    """The shortest prefix of steps whose pictures are on average ``least_db`` from the plain ones, by bisection.

    Raises:
        RequestError: not even all steps bring them there.
    """
    plain, network = draw_each(pipeline, requests), pipeline.bundle.transformer

    def decibels(count: int) -> float:
        narrow = deepcopy(network)
        quantize_layers_(narrow, mixture.widened(count))
        bundle = replace(pipeline.bundle, transformer=narrow)
        found = distances(plain, draw_each(TextToImagePipeline(bundle), requests))[0].value
        told(f"{readable_bytes(mixture.bytes_after(count))}: {found:.1f} dB")
        return found

    low, high = 0, len(mixture.steps)
    if decibels(high) < least_db:
        raise RequestError(f"no mixture keeps pictures within {least_db:g} dB; ask for less")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decibels(middle) >= least_db else (middle + 1, high)
    return mixture.widened(high)


@contextmanager
def kept_calls(network: nn.Module) -> Iterator[list[Call]]:
    """While it lasts, the arguments of every call of ``network``, for networks with other weights too."""
    calls: list[Call] = []

    def keep(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        unfolded = (replace(arg, folded=()) if isinstance(arg, Condition) else arg for arg in args)
        calls.append((tuple(unfolded), named))

    hook = network.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


def _shape(network: nn.Module, name: str) -> tuple[int, ...]:
    weight = network.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return tuple(weight.shape)
