"""Rollouts on other machines: actors of Ray draw the pictures of a prompt and look at them, the run learns.

An actor is given the weights of an iteration once. One that dies is started again and makes its prompt again, from the
same seeds and weights; nothing is written but by the run.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanakit.common.errors import RequestError, SanakitError, optional
from sanakit.training.recipes.rl.rolling import begun, build_engines, build_maker, build_panel
from sanakit.training.recipes.rl.settings import RayActors, RLSettings, RLStage
from sanakit.training.rollouts.maker import MadeGroup

logger = logging.getLogger(__name__)

_DEATHS = 3  # of an actor, and of the making of a prompt, after which the run ends
_MEGABYTES = 512  # of the store of a Ray that is started here


class Roller:
    """What an actor is: the engines and rewards of a run, on its machine."""

    def __init__(self, recipe: RLSettings, stage: RLStage, paths: Sequence[str]) -> None:
        sys.path += [path for path in paths if path not in sys.path]
        device = "cuda" if torch.cuda.is_available() else "cpu"
        start = begun(recipe, device)
        engines = build_engines(recipe, start, stage, device)
        self.maker = build_maker(recipe, stage, engines, build_panel(recipe, start, device), Path())
        self.engines = engines

    def make(self, weights: list[Any], revision: str, iteration: int, group: int) -> MadeGroup | str:
        """A group; or in words why there is none, as Ray would make it again and tell of it in many lines.

        Args:
            weights: a reference to them, in a list so that they are fetched only where they are new.
            revision: of them.
            iteration, group: its place.
        """
        try:
            if self.engines[0].revision != revision:
                import ray

                found: Mapping[str, Tensor] = ray.get(weights[0])
                for engine in self.engines:
                    engine.refresh(found, revision)
            return next(self.maker.groups(iteration, [group]))[1]
        except SanakitError as error:
            return str(error)


class RayRollouts:
    """The actors of a run. Ray that was started here is stopped by `close`.

    Raises:
        MissingExtraError: Ray is not installed.
        RequestError: the cluster does not answer.
    """

    def __init__(self, recipe: RLSettings, stage: RLStage, config: RayActors) -> None:
        ray = self._ray = optional("ray", "rollouts on Ray need it; install it with: pip install 'sanakit[ray]'")
        self._started = not ray.is_initialized()
        if self._started:
            _start(ray, config)
        options = {
            "num_cpus": config.cpus, "num_gpus": config.gpus, "max_restarts": _DEATHS, "max_task_retries": _DEATHS,
        }  # fmt: skip
        kind = ray.remote(**options)(Roller)
        self.actors = [kind.remote(recipe, stage, tuple(sys.path)) for _ in range(config.actors)]
        self._weights: list[Any] = []
        self._revision = ""

    def take(self, weights: Mapping[str, Tensor], revision: str) -> None:
        """The weights of what is made from now on."""
        if revision != self._revision:
            self._weights, self._revision = [self._ray.put(dict(weights))], revision

    def __call__(self, iteration: int, numbers: Sequence[int]) -> Iterator[tuple[int, MadeGroup]]:
        """Groups as they are made; each actor has one at a time.

        Raises:
            SanakitError: a reward or a rollout fails, or an actor died too often; the actors are gone then.
        """
        try:
            yield from self._groups(iteration, numbers)
        except BaseException:
            self.close()
            raise

    def _groups(self, iteration: int, numbers: Sequence[int]) -> Iterator[tuple[int, MadeGroup]]:
        waiting, free = list(numbers), list(self.actors)
        running: dict[Any, tuple[int, Any]] = {}
        while waiting or running:
            while waiting and free:
                number, actor = waiting.pop(0), free.pop()
                running[actor.make.remote(self._weights, self._revision, iteration, number)] = number, actor
            [done], _ = self._ray.wait(list(running), num_returns=1)
            number, actor = running.pop(done)
            free.append(actor)
            yield number, self._made(done)

    def _made(self, done: Any) -> MadeGroup:
        try:
            found: MadeGroup | str = self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            raise SanakitError(
                f"an actor of Ray could not be kept alive ({type(error).__name__}), out of memory or in a crash; give "
                f"it more memory, and run the same command, which goes on"
            ) from error
        if isinstance(found, str):
            raise SanakitError(found)
        return found

    def close(self) -> None:
        """For good."""
        for actor in self.actors:
            self._ray.kill(actor)
        self.actors.clear()
        if self._started:
            self._ray.shutdown()


def _start(ray: Any, config: RayActors) -> None:
    """Join the cluster, or start Ray on this machine alone: quiet, without a dashboard."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if config.address is not None:
            ray.init(address=config.address, **quiet)
        else:
            cpus = max(1, -(-config.actors * config.cpus // 1))
            ray.init(
                address="local",
                num_cpus=int(cpus),
                object_store_memory=_MEGABYTES << 20,
                include_dashboard=False,
                **quiet,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RequestError(f"no Ray answers at ray.address={config.address} ({error})") from error
