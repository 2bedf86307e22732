"""The loop: a step at a time, within a budget of minutes or steps, resumable, with its curve on disk."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.training.distributed import Ranks, agree, average_gradients, broadcast_parameters
from sanakit.training.ema import Ema
from sanakit.training.files import save_state

logger = logging.getLogger(__name__)

StepFunction = Callable[[int], Mapping[str, Tensor]]  # number of the step to the terms of the loss


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """Budget and optimiser of a run.

    A run ends at ``steps`` or ``minutes``, whichever comes first; the learning rate falls linearly to zero over
    the last ``decay`` of the budget, so that a run given less time still ends well.
    """

    batch_size: int
    learning_rate: float
    minutes: float | None = None
    steps: int | None = None
    optimizer: Literal["adamw", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    warmup_steps: int = 100
    decay: float = 0.3
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    bf16: bool = True
    log_steps: int = 50
    save_minutes: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise ConfigError("a run needs an end: give minutes, steps or both")
        for name in ("batch_size", "log_steps", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value} must be at least 1")
        for name in ("learning_rate", "gradient_clip", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value} must be positive")
        for name in ("decay", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} must lie within [0, 1]")


@dataclass(frozen=True, slots=True)
class LoopResult:
    """What a run did; ``seconds`` counts this and all earlier sittings."""

    steps: int
    samples: int
    seconds: float


def build_optimizers(model: nn.Module, config: LoopConfig) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon (torch's own) for the matrices inside blocks and AdamW for the rest."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if config.optimizer == "muon" and p.ndim == 2 and "blocks." in name
                and not name.endswith("table")]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in named if id(p) not in chosen]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(torch.optim.Muon(
            matrices, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        ))
    optimizers.append(torch.optim.AdamW(
        rest, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    ))
    return optimizers


def train(
    model: nn.Module, step: StepFunction, config: LoopConfig, folder: Path, *, ranks: Ranks,
    on_log: Callable[[Mapping[str, float]], None] | None = None,
) -> LoopResult:
    """Run ``step`` until the budget is spent; continue from ``folder / "state.pt"`` if it is there.

    Args:
        model: whose parameters with ``requires_grad`` are trained, in place. At the end it holds their average.
        step: computes the terms of the loss of step number ``n``; ``loss`` is minimised, scalars are logged.
        folder: of this run: ``state.pt`` (to resume) and ``log.jsonl`` (the curve) are written there.
        ranks: this process among those that share the work; each sees its own samples.
        on_log: is given each line of the log.

    Raises:
        FloatingPointError: the loss or its gradient is no longer finite; what is saved is still sound.
    """
    folder.mkdir(parents=True, exist_ok=True)
    broadcast_parameters(model, ranks)
    optimizers, ema = build_optimizers(model, config), Ema(model, config.ema_decay)
    trained = [p for p in model.parameters() if p.requires_grad]
    number, before = _restore(folder / "state.pt", model, optimizers, ema)
    start = last_save = time.monotonic()
    window = _Window()
    while True:
        seconds = before + time.monotonic() - start
        progress = agree(_progress(number, seconds, config), ranks)
        if progress >= 1:
            break
        rate = config.learning_rate * _rate(number, progress, config)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        terms = step(number)
        terms["loss"].backward()
        average_gradients(trained, ranks)
        norm = nn.utils.clip_grad_norm_(trained, config.gradient_clip)
        _check_finite(float(terms["loss"].detach()), float(norm), number, folder)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        ema.update(model)
        number += 1
        window.add(terms, float(norm))
        if number % config.log_steps == 0 and ranks.is_first:
            line = window.line(number, number * config.batch_size * ranks.world, seconds, rate)
            window = _Window()
            with (folder / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            logger.info("step %(step)d  loss %(loss).4f  %(samples_per_second).1f samples/s", line)
            if on_log is not None:
                on_log(line)
        if time.monotonic() - last_save > 60 * config.save_minutes and ranks.is_first:
            _save(folder / "state.pt", model, optimizers, ema, number, seconds)
            last_save = time.monotonic()
    seconds = before + time.monotonic() - start
    if ranks.is_first:
        _save(folder / "state.pt", model, optimizers, ema, number, seconds)
    ema.copy_to(model)
    return LoopResult(number, number * config.batch_size * ranks.world, seconds)


def _check_finite(loss: float, norm: float, number: int, folder: Path) -> None:
    """Before the weights are touched: a state with NaN in it must never be saved over a good one."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise FloatingPointError(
            f"step {number} has a loss of {loss} with a gradient of norm {norm}; the last good state is in {folder}"
        )


def _progress(number: int, seconds: float, config: LoopConfig) -> float:
    parts = [number / config.steps] if config.steps else []
    parts += [seconds / (60 * config.minutes)] if config.minutes else []
    return max(parts)


def _rate(number: int, progress: float, config: LoopConfig) -> float:
    warm = min(1.0, (number + 1) / max(1, config.warmup_steps))
    return warm * (min(1.0, (1 - progress) / config.decay) if config.decay else 1.0)


def _save(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], ema: Ema, number: int,
          seconds: float) -> None:
    save_state({
        "model": model.state_dict(), "ema": ema.state_dict(), "step": number, "seconds": seconds,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }, path)


def _restore(path: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer], ema: Ema) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    ema.load_state_dict(state["ema"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    logger.info("continues at step %d after %.1f minutes", state["step"], state["seconds"] / 60)
    return state["step"], state["seconds"]


class _Window:
    """Means of the scalars since the last line of the log."""

    def __init__(self) -> None:
        self.start, self.count, self.sums = time.monotonic(), 0, dict[str, float]()

    def add(self, terms: Mapping[str, Tensor], norm: float) -> None:
        self.count += 1
        scalars = {name: float(term.detach()) for name, term in terms.items() if term.ndim == 0}
        for name, value in {**scalars, "gradient_norm": norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def line(self, number: int, samples: int, seconds: float, rate: float) -> dict[str, float]:
        means = {name: total / self.count for name, total in self.sums.items()}
        speed = self.count * samples / number / (time.monotonic() - self.start)
        return {"step": number, "samples": samples, "seconds": round(seconds, 1), "learning_rate": rate,
                "samples_per_second": speed, **means}
