"""One GPU against diffusers: a denoising step eager and compiled, decoding, and attention, softmax and linear.

    python benchmarks/gpu.py --output gpu.json

Sana-0.6B and 1.6B at 512 to 4096 px in bfloat16, within eight minutes. Both sides run on the same random weights and
inputs, in turn, in this process, and their results are compared. ``compiled`` is ours with its blocks compiled and the
step played back as a CUDA graph, as ``--compile`` does it, and diffusers' with its blocks compiled by torch. A step has
guidance: two rows a picture. One picture tells the latency, as many as a call takes the throughput. What there was no
time for is named.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
import torch.nn.functional as F
from torch import Tensor

from sanakit.bench.case import relative_error
from sanakit.bench.floors import Rates, measured_rates
from sanakit.bench.peer import peer_network, peer_version
from sanakit.bench.random_weights import built, random_transformer
from sanakit.bench.report import machine_facts, versions
from sanakit.bench.settings import GUIDANCE_SCALE, BenchSettings
from sanakit.bench.stages.networks import (
    TEXT_POSITIONS,
    DenoisingSteps,
    bench_texts,
    decode_case,
    on_device,
    peer_step,
    step_work,
)
from sanakit.bench.stopwatch import Times, interleaved
from sanakit.common.seeds import draw_noise
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.kernels.linear_attention import linear_attention
from sanakit.models.transformers.compiled_step import CompiledStep
from sanakit.pipelines.denoise import rows_per_call
from sanakit.sampling.guidance import ClassifierFreeGuidance

SECONDS = 400.0  # then nothing more is begun
SIZES = (1024, 512, 2048, 4096)  # the usual one first
COMPILING = 25.0  # seconds that a compiled way is given to begin with
GUIDANCE = ClassifierFreeGuidance(scale=GUIDANCE_SCALE)

Way = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is measured, and how; tests take a tiny network on the CPU."""

    models: tuple[str, ...] = ("0.6B", "1.6B")
    sizes: tuple[int, ...] = SIZES
    device: str = "cuda"
    dtype: Any = "bfloat16"
    backend: str = "inductor"
    seconds: float = SECONDS
    repeats: int = 20
    start: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.start)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. ``errors`` are largest differences to the first way over its largest value."""

    what: str
    model: str
    side: int
    pictures: int
    times: Mapping[str, Times]
    errors: Mapping[str, float]
    floor: float | None = None
    left_out: tuple[str, ...] = ()

    def line(self) -> str:
        """For a person: milliseconds of every way, and how many times longer than the quickest of ours."""
        best = min((t.wall for name, t in self.times.items() if name.startswith("ours")), default=math.nan)
        told = [f"{name} {1000 * t.wall:.2f} ms ({t.wall / best:.2f}x)" for name, t in self.times.items()]
        told += [] if self.floor is None else [f"floor {1000 * self.floor:.2f} ms"]
        told += [f"error {max(self.errors.values()):.1e}"] if self.errors else []
        told += [f"left out for time: {', '.join(self.left_out)}"] if self.left_out else []
        return f"{self.what:9s} {self.model:5s} {self.side:5d} px x{self.pictures:<2d} " + ", ".join(told)

    def to_json(self) -> dict[str, Any]:
        return {
            "what": self.what, "model": self.model, "side": self.side, "pictures": self.pictures,
            "seconds": {name: [sample.wall for sample in t.samples] for name, t in self.times.items()},
            "pictures per second of 20 steps": {n: self.pictures / (20 * t.wall) for n, t in self.times.items()}
            if self.what == "step" else None,
            "errors": dict(self.errors), "floor": self.floor, "left out": list(self.left_out),
        }  # fmt: skip


def rows(run: Run) -> Iterator[Row]:
    """Each as soon as it is measured; the sizes in their order, every model at each of them before the next."""
    rates = measured_rates(getattr(torch, run.dtype), run.device)
    for model in run.models:
        networks = Networks(run, model)
        for side in run.sizes:
            yield networks.step(side, 1, rates)
            if (most := networks.most_pictures(side)) > 1:
                yield networks.step(side, most, rates)
            yield networks.attention(side)
        del networks
        gc.collect()
    for side in run.sizes:
        case = decode_case(settings_of(run, run.models[0], side, 1))
        ways = {"ours": case.ours, **({} if case.peer is None else {"diffusers": case.peer})}
        yield measured(run, "decode", "f32c32", side, 1, ways, None if case.work is None else rates.floor(case.work))
        del case, ways
        gc.collect()


def settings_of(run: Run, model: str, side: int, pictures: int) -> BenchSettings:
    return BenchSettings(
        model=model, height=side, width=side, dtype=run.dtype, device=run.device, batch=pictures,
        peer=peer_version() is not None,
    )  # fmt: skip


class Networks:
    """Ours and diffusers' over the same weights, and both compiled."""

    def __init__(self, run: Run, model: str) -> None:
        self.run, self.model = run, model
        shape = settings_of(run, model, run.sizes[0], 1).shape
        state = random_transformer(shape.transformer, 0, getattr(torch, run.dtype))
        state = replace(state, tensors=on_device(state.tensors, run.device))
        self.config, self.ours = state.config, built(state, run.device)
        self.compiled = CompiledStep(self.ours, backend=run.backend)
        self.peers: dict[str, Any] = {}
        if peer_version() is not None:
            self.peers = {name: peer_network(state, state.tensors) for name in ("diffusers", "diffusers compiled")}
            for block in self.peers["diffusers compiled"].transformer_blocks:
                block.compile(dynamic=False, backend=run.backend)

    def most_pictures(self, side: int) -> int:
        """That share a call."""
        shape = settings_of(self.run, self.model, side, 1).latent_shape[1:]
        return max(rows_per_call(torch.device(self.run.device), shape) // 2, 1)

    def step(self, side: int, pictures: int, rates: Rates) -> Row:
        """The velocities of so many guided pictures; texts have the model's full length, as both compiled ways want."""
        settings = settings_of(self.run, self.model, side, pictures)
        prompt, null = bench_texts(self.config, settings)
        shape = settings.latent_shape
        latent = torch.cat([draw_noise(shape[1:], seed)[None] for seed in range(pictures)]).to(self.run.device)
        texts = {"conditional": prompt, "unconditional": null}
        short = {name: self.ours.prepare(text) for name, text in texts.items()}
        long = {name: replace(each.pad(TEXT_POSITIONS), folded=()) for name, each in short.items()}
        ways: dict[str, Way] = {
            "ours": DenoisingSteps(self.ours, latent, GUIDANCE, short, 1),
            "ours compiled": DenoisingSteps(self.ours, latent, GUIDANCE, long, 1, self.compiled),
            **{name: peer_step(network, settings, latent, (null, prompt)) for name, network in self.peers.items()},
        }
        return measured(self.run, "step", self.model, side, pictures, ways, rates.floor(step_work(settings)))

    def attention(self, side: int) -> Row:
        """Of one block for the rows of a guided picture, by the kernel of linear attention and by softmax attention."""
        settings = settings_of(self.run, self.model, side, 1)
        size, tokens = self.config.head_dim, math.prod(settings.latent_shape[2:]) // self.config.patch_size**2
        shape = (2, self.config.hidden_size // size, tokens, size)
        q, k, v = (draw_noise(shape, seed).to(self.run.device, getattr(torch, self.run.dtype)) for seed in range(3))
        ways: dict[str, Way] = {
            "ours linear": lambda: linear_attention(q, k, v),
            "softmax": lambda: F.scaled_dot_product_attention(q, k, v),
        }
        return replace(measured(self.run, "attention", self.model, side, 1, ways), errors={})  # other functions


def measured(
    run: Run, what: str, model: str, side: int, pictures: int, ways: Mapping[str, Way], floor: float | None = None
) -> Row:
    """Every way once, which compiles what is to be compiled, and then all in turn."""
    expected: Tensor | None = None
    errors, begun = {}, {}
    for name, way in ways.items():
        if run.left < (COMPILING if name.endswith("compiled") else 0):
            continue
        found = way()
        way()  # the second: a graph is recorded by now
        begun[name] = way
        expected = found if expected is None else expected
        if found is not expected:
            errors[name] = relative_error(found, expected)
    seconds = min(max(run.left, 0.0), 4.0)
    times = interleaved(list(begun.values()), repeats=run.repeats, seconds=seconds, device=run.device)
    return Row(
        what=what, model=model, side=side, pictures=pictures, times=dict(zip(begun, times, strict=True)),
        errors=errors, floor=floor, left_out=tuple(name for name in ways if name not in begun),
    )  # fmt: skip


@torch.no_grad()
def main(run: Run, output: Path | None = None) -> list[Row]:
    """Measure, tell and write."""
    found = []
    with own_arithmetic(), torch._dynamo.config.patch(recompile_limit=64):  # diffusers' blocks too: every size is one
        facts = machine_facts(run.device)
        print(facts, versions(), flush=True)
        for row in rows(run):
            found.append(row)
            print(row.line(), flush=True)
            if output is not None:  # after each, so that one that is stopped leaves something
                content = {"machine": facts, "versions": versions(), "rows": [each.to_json() for each in found]}
                output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="file of the whole report, JSON")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="after which nothing more is begun")
    words = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device that this torch can use is here")
    main(Run(seconds=words.seconds), words.output)
