"""Euler's steps over chunks of a clip, each some steps behind the one before: the way in which a network that sees all
frames teaches one that makes chunk after chunk.

Source: SANA-WM, arXiv:2605.15178; NVlabs/Sana.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sanakit.common.devices import widened
from sanakit.common.errors import ConfigError
from sanakit.sampling.evaluation import Evaluation, Solver
from sanakit.sampling.schedules import TRAIN_STEPS, check_settings, flow_euler_schedule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class StaggeredEuler:
    """First order in sigma, one network evaluation of all chunks that have begun for each tick.

    Args:
        num_steps: of every chunk.
        flow_shift: of their noise levels.
        chunk: frames of the latent in one; the first has what is left over too.
        interval: share of the steps by which a chunk begins behind the one before, from 0 (all together) to 1 (one
            after the other); None for as many shares as there are chunks.
    """

    num_steps: int
    flow_shift: float
    chunk: int
    interval: float | None = None

    def __post_init__(self) -> None:
        check_settings(self.num_steps, self.flow_shift)
        if self.chunk < 1:
            raise ConfigError(f"chunk={self.chunk} must be at least 1 frame of the latent")
        if self.interval is not None and not 0 <= self.interval <= 1:
            raise ConfigError(f"interval={self.interval} must be a share of the steps, from 0 to 1")

    def sizes(self, frames: int) -> list[int]:
        """Frames of each chunk of a latent of so many."""
        number = max(frames // self.chunk, 1)
        return [frames - (number - 1) * self.chunk, *[self.chunk] * (number - 1)]

    def starts(self, num_chunks: int) -> list[int]:
        """The tick with which each chunk begins."""
        interval = 1 / num_chunks if self.interval is None else self.interval
        return [int(index * interval * self.num_steps) for index in range(num_chunks)]

    def start(self, noise: Tensor) -> Solver:
        """From noise ``(1, C, T, h, w)`` to a clip; a wish holds the frames of the chunks that have begun, each with a
        noise level of its own, 0 where it is finished."""
        return staggered_euler_solver(noise, self)


def staggered_euler_solver(latent: Tensor, config: StaggeredEuler) -> Solver:
    """Walk along the velocity, every chunk on its own part of the way."""
    latent = widened(latent)
    sizes, levels = config.sizes(latent.shape[2]), flow_euler_schedule(config.num_steps, config.flow_shift).sigmas
    starts, last = config.starts(len(sizes)), config.num_steps
    total = starts[-1] + last
    for tick in range(total):
        steps = [min(tick - start, last) for start in starts if start <= tick]  # done, of the chunks that have begun
        now = _by_frame([levels[step] for step in steps], sizes)
        then = _by_frame([levels[min(step + 1, last)] for step in steps], sizes)
        begun = latent[:, :, : len(now)]
        velocity = yield Evaluation(begun, now[-1], TRAIN_STEPS * now[-1], tick, total, frame_sigmas=now)
        strides = latent.new_tensor([after - before for before, after in zip(now, then, strict=True)])
        moved = latent.clone()
        moved[:, :, : len(now)] += strides[:, None, None] * velocity.to(latent.dtype)
        latent = moved
    return latent


def _by_frame(levels: Sequence[float], sizes: Sequence[int]) -> tuple[float, ...]:
    """Of the first chunks, for each of their frames."""
    return tuple(level for level, size in zip(levels, sizes, strict=False) for _ in range(size))
