"""How much of a training step is not forward and backward, on the starter transformer's recipe with cached features.

    OMP_NUM_THREADS=1 python benchmarks/trainer_overhead.py [--steps 60] [--no-compile] [--json overhead.json]

The real loop runs, with the recipe's network, batch, optimizer and log, on features of the real shapes (their values
are random: no network has to be loaded). After each of its steps the same forward and backward run in a bare loop in
the same process, so that whatever else the machine does falls on both. Medians over the steps after a warm-up.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sanakit.common.config import from_mapping
from sanakit.features.batches import LatentBatch
from sanakit.features.scenes import CachedScenes
from sanakit.features.work import Demand
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training import loop
from sanakit.training.recipes.transformer.initialization import initialize_
from sanakit.training.recipes.transformer.recipe import TransformerRecipe, build_trainee
from sanakit.training.run.run_config import CheckpointConfig, LogConfig
from sanakit.training.run.run_state import RunState
from sanakit.training.run.session import Session, Watchers
from sanakit.training.step import step
from sanakit.training.step.ema import Ema
from sanakit.training.step.feeds import Prefetched
from sanakit.training.step.parallel import attention_for, autocast
from sanakit.training.step.trainee import PlannedStage, Stage
from sanakit.training.watching.run_logger import RunLogger

RECIPE = Path(__file__).parents[1] / "recipes" / "starter-transformer.yaml"
NUM_CAPTIONS, COMPRESSION = 512, 16


class Clock:
    """Seconds of each part of each step. A part that runs within another is taken out of it."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self.steps: list[dict[str, float]] = []
        self._parts: dict[str, float] = {}
        self._open: list[float] = []  # seconds of inner parts, of each part that is running
        self._start = time.perf_counter()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            self._open.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                self._synchronize()
                spent = time.perf_counter() - start
                self._parts[part] = self._parts.get(part, 0.0) + spent - self._open.pop()
                if self._open:
                    self._open[-1] += spent

        return wrapper

    def end_step(self, bare: Callable[[LatentBatch], None], make: Callable[[], LatentBatch]) -> None:
        """Keep the step that has ended, run the bare loop's step on the same batch, and begin the next."""
        self._synchronize()
        ended = {**self._parts, "step": time.perf_counter() - self._start}
        batch, start = make(), time.perf_counter()
        bare(batch)
        self._synchronize()
        self.steps.append({**ended, "bare": time.perf_counter() - start})
        self._parts, self._start = {}, time.perf_counter()

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warm-up", type=int, default=10, help="steps that are not counted")
    parser.add_argument("--stage", type=int, default=-1, help="of the recipe; -1 is the last")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-compile", action="store_true", help="whatever the recipe says")
    parser.add_argument("--optimizer", help="another type than the recipe's")
    parser.add_argument("--json", type=Path, help="also write the medians here")
    options = parser.parse_args()
    found = measure(options)
    print_table(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Medians in seconds, by part."""
    settings = yaml.safe_load(RECIPE.read_text())
    if options.optimizer:
        settings["optimizer"] = {"type": options.optimizer}
    recipe = from_mapping(TransformerRecipe, settings)
    assert recipe.model is not None
    config = replace(recipe.stages[options.stage], steps=options.warm_up + options.steps, minutes=None)
    recipe = replace(
        recipe,
        stages=(config,),
        compile=recipe.compile and not options.no_compile,
        checkpoints=CheckpointConfig(minutes=None),
        log=LogConfig(steps=recipe.log.steps, report_to=("tensorboard",)),
    )
    model = LinearDiT(recipe.model)
    initialize_(model, torch.Generator().manual_seed(0))
    model.to(options.device)
    data = features(recipe, config.resolutions[0] // COMPRESSION, config.batch_size)
    null = torch.zeros(1, 4, recipe.model.caption_channels), torch.ones(1, 4, dtype=torch.bool)
    trainee = build_trainee(recipe, config, model, dict(zip(("null.embeds", "null.mask"), null, strict=True)))
    clock = Clock(options.device)
    loss = clock.timed("forward", trainee.loss)

    def bare(batch: LatentBatch) -> None:
        with attention_for(options.device):
            with autocast(options.device, recipe.precision):
                terms = trainee.loss(batch, torch.Generator().manual_seed(0), {})
            terms["loss"].backward()
        model.zero_grad(set_to_none=True)

    def on_step(state: RunState, stage: str, progress: float) -> None:
        clock.end_step(bare, lambda: data.batch(state.step - 1).to(options.device))

    instrument(clock)
    stage = Stage(config, Prefetched(data), (replace(trainee, loss=loss),), keep_optimizer=False)
    with tempfile.TemporaryDirectory() as folder:
        session = Session(config=recipe, folder=Path(folder), device=options.device, watchers=Watchers(on_step=on_step))
        loop.run_stages([PlannedStage(config, lambda: stage)], session)
    counted = clock.steps[options.warm_up :]
    names = sorted({name for each in counted for name in each})
    medians = {name: statistics.median(each.get(name, 0.0) for each in counted) for name in names}
    compute = [each["forward"] + each["backward"] for each in counted]
    medians["overhead_share"] = statistics.median(
        1 - own / each["step"] for own, each in zip(compute, counted, strict=True)
    )
    medians["overhead_share_without_optimizer"] = statistics.median(
        1 - (own + each["optimizer"]) / each["step"] for own, each in zip(compute, counted, strict=True)
    )
    medians["compute_over_bare"] = statistics.median(
        own / each["bare"] for own, each in zip(compute, counted, strict=True)
    )
    medians["step_over_bare"] = statistics.median(each["step"] / each["bare"] for each in counted)
    return {**medians, "num_steps": len(counted), "threads": torch.get_num_threads()}


def features(recipe: TransformerRecipe, side: int, batch_size: int) -> CachedScenes:
    """Features as the recipe's cache holds them: its own order and batches, texts of 12 to 40 tokens."""
    assert recipe.model is not None
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    latents = torch.randn(NUM_CAPTIONS, recipe.model.in_channels, side, side, generator=generator).bfloat16()
    texts = [
        torch.randn(int(length), recipe.model.caption_channels, generator=generator).bfloat16()
        for length in rng.integers(12, 41, NUM_CAPTIONS)
    ]
    places = np.stack([np.zeros(NUM_CAPTIONS, np.int64), np.arange(NUM_CAPTIONS)], axis=1)
    demand = Demand(resolutions=(side * COMPRESSION,), batch_size=batch_size, seed=recipe.seed)
    return CachedScenes([latents], places, texts, np.arange(NUM_CAPTIONS), demand)


def instrument(clock: Clock) -> None:
    """Put the clock around the parts of the loop."""
    assemble = loop.assemble

    def with_timed_optimizers(*args: Any, **kwargs: Any) -> Any:
        train_state = assemble(*args, **kwargs)
        for optimizers in train_state.optimizers.values():
            for optimizer in optimizers:
                optimizer.step = clock.timed("optimizer", optimizer.step)
        return train_state

    def wrap(owner: Any, name: str, part: str) -> None:
        setattr(owner, name, clock.timed(part, getattr(owner, name)))

    loop.assemble = with_timed_optimizers
    wrap(torch.Tensor, "backward", "backward")
    wrap(Ema, "update", "ema")
    wrap(RunLogger, "see", "logging")
    wrap(loop, "plan_step", "data")
    wrap(Prefetched, "take", "data")
    wrap(Prefetched, "expect", "data")
    wrap(loop, "compute_gradients", "check")  # what is left of it: generators, sums, one look at the loss
    wrap(step, "clip_gradients", "clip")


PARTS = ("forward", "backward", "optimizer", "ema", "data", "clip", "check", "logging")


def print_table(found: dict[str, float]) -> None:
    """Milliseconds and shares of a step; the rest is what no part claims."""
    rest = found["step"] - sum(found[part] for part in PARTS)
    for part, seconds in [*((part, found[part]) for part in PARTS), ("rest", rest), ("step", found["step"])]:
        print(f"{part:<12} {1000 * seconds:9.2f} ms  {seconds / found['step']:7.1%}")
    print(f"{'bare loop':<12} {1000 * found['bare']:9.2f} ms  forward and backward alone")
    print(
        f"beside forward and backward: {found['overhead_share']:.1%} of a step "
        f"({found['overhead_share_without_optimizer']:.1%} without the optimizer's arithmetic)"
    )
    print(
        f"forward and backward take {found['compute_over_bare']:.3f} times the bare loop's, a step "
        f"{found['step_over_bare']:.3f} times; medians of {found['num_steps']} steps, {found['threads']} thread(s)"
    )


if __name__ == "__main__":
    main()
