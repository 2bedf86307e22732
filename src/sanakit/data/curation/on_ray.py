"""The driver on Ray Data: the same steps, on as many machines as Ray has.

A batch is one row of Ray's (JSON), so that it reaches the step whole whatever Ray does with its blocks: a captioner
sees the same pictures together as in one process, and the answers come back in the order of the batches.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from PIL import Image

from sanakit.common import errors
from sanakit.common.errors import RequestError, SanakitError, optional
from sanakit.data.curation.config import RayConfig
from sanakit.data.curation.drivers import Work
from sanakit.data.curation.parts import arrow
from sanakit.data.curation.steps import Row, Step

_WINDOW = {"pictures": 4096, "model": 65536, "shards": 64}  # batches handed to Ray at once; models stay loaded for one
_BATCHES_PER_BLOCK = {"pictures": 4, "model": 4, "shards": 1}  # that one task takes, one after the other

logger = logging.getLogger(__name__)

_DEATHS = 3  # of a worker over the same pictures, after which the curation ends: without a limit Ray goes on for ever

_steps: dict[str, Step] = {}  # of the pass that this worker process is busy with


@contextmanager
def ray_driver(config: RayConfig) -> Iterator[RayData]:
    """A driver on the Ray that runs already, on the cluster at ``config.address``, or on one started here.

    Only a Ray that was started here is stopped at the end.

    Raises:
        MissingExtraError: Ray is not installed.
        RequestError: the cluster at that address does not answer.
    """
    ray = _import_ray()
    started = not ray.is_initialized()
    if started:
        _start(ray, config)
    try:
        yield RayData(config)
    finally:
        if started:
            ray.shutdown()


class RayData:
    """A driver for a Ray that is running."""

    def __init__(self, config: RayConfig) -> None:
        self._config = config

    def map(self, work: Work, batches: Iterable[list[Row]]) -> Iterator[list[Row]]:
        """A pass; models live in actors that stay for a window, everything else runs in tasks.

        Raises:
            SanakitError: as the step raised it, or a worker died again and again.
        """
        import ray

        make_step = ray.put(work.make_step)
        waiting = iter(batches)
        while window := list(islice(waiting, _WINDOW[work.kind])):
            yield from self._map_window(work, make_step, window)

    def _map_window(self, work: Work, make_step: Any, window: list[list[Row]]) -> Iterator[list[Row]]:
        import ray

        pa = arrow()
        texts = [json.dumps(batch) for batch in window]
        size = _BATCHES_PER_BLOCK[work.kind]
        blocks = [pa.table({"batch": texts[start : start + size]}) for start in range(0, len(texts), size)]
        dataset = ray.data.from_arrow(blocks)
        dataset.context.execution_options.preserve_order = True
        dataset.context.enable_progress_bars = False
        apply, options = self._apply(work, make_step)
        results: Any = dataset.map_batches(apply, batch_size=1, batch_format="pyarrow", **options)
        try:
            tables: Iterator[Any] = iter(results.iter_batches(batch_size=None, batch_format="pyarrow"))
            for table in tables:
                for text in table.column("batch").to_pylist():
                    yield _answer(text)
        except ray.exceptions.RayError as error:
            raise SanakitError(
                f"a worker of Ray died {_DEATHS + 1} times over the same {work.kind}, out of memory or in a crash; "
                f"what is finished stays: give it more memory or smaller batches, or run without --ray to see where"
            ) from error

    def _apply(self, work: Work, make_step: Any) -> tuple[Any, dict[str, Any]]:
        """What Ray Data calls for each batch, and with which resources."""
        import ray

        if work.kind != "model":
            return _task(uuid.uuid4().hex, [make_step], here()), {"max_retries": _DEATHS}
        pool = ray.data.ActorPoolStrategy(size=self._config.captioner_workers)
        options = {"num_cpus": self._config.captioner_cpus, "num_gpus": self._config.captioner_gpus or None}
        deaths = {"max_restarts": _DEATHS, "max_task_retries": _DEATHS}
        return _actor([make_step], here()), {"compute": pool, **options, **deaths}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the process that started the curation is told beside the recipe."""

    paths: tuple[str, ...]
    max_pixels: int | None

    def take_on(self) -> None:
        """Find the same modules, and read pictures up to the same size."""
        sys.path += [path for path in self.paths if path not in sys.path]
        Image.MAX_IMAGE_PIXELS = self.max_pixels


def here() -> Surroundings:
    """Those of this process."""
    return Surroundings(tuple(sys.path), Image.MAX_IMAGE_PIXELS)


def _task(token: str, make_step: list[Any], surroundings: Surroundings) -> Callable[[Any], Any]:
    """A function for Ray's tasks; a worker process makes the step once for a pass, and forgets that of the last."""

    def apply(table: Any) -> Any:
        from sanakit.data.curation import on_ray

        def step(rows: list[Row]) -> list[Row]:
            if token not in on_ray._steps:
                on_ray._steps.clear()
                on_ray._steps[token] = _make(make_step, surroundings)
            return on_ray._steps[token](rows)

        return _call(step, table)

    return apply


def _actor(make_step: list[Any], surroundings: Surroundings) -> type:
    """A class for Ray's actors, which holds the step and its model."""

    class Captioning:
        def __init__(self) -> None:
            self.step: Step | None = None

        def __call__(self, table: Any) -> Any:
            def step(rows: list[Row]) -> list[Row]:
                self.step = self.step or _make(make_step, surroundings)
                return self.step(rows)

            return _call(step, table)

    return Captioning


def _make(make_step: list[Any], surroundings: Surroundings) -> Step:
    """The step in this worker."""
    import ray

    surroundings.take_on()
    return ray.get(make_step[0])()


def _call(step: Step, table: Any) -> Any:
    return arrow().table({"batch": [_told(step, json.loads(text)) for text in table.column("batch").to_pylist()]})


def _told(step: Step, rows: list[Row]) -> str:
    """The result, or the error of ours: Ray would run the batch again, and tell of it in hundreds of lines."""
    try:
        return json.dumps({"rows": step(rows)})
    except SanakitError as error:
        return json.dumps({"error": type(error).__name__, "sentence": str(error)})
    except Exception as error:  # its reason, which Ray would hide
        logger.exception("a step of the curation failed")
        sentence = f"the curation failed in a worker: {type(error).__name__}: {' '.join(str(error).split())}"
        return json.dumps({"error": "SanakitError", "sentence": sentence})


def _answer(text: str) -> list[Row]:
    answer = json.loads(text)
    if "error" in answer:
        raise getattr(errors, answer["error"], SanakitError)(answer["sentence"])
    return answer["rows"]


def _import_ray() -> Any:
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # it is read as ray.data is imported
    optional("ray.data", "curation with --ray needs Ray; run: pip install 'sanakit[ray]'")
    import ray

    return ray


def _start(ray: Any, config: RayConfig) -> None:
    """Join the cluster, or start Ray on this machine alone: quiet, no dashboard, no telemetry, no network."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if config.address is not None:
        try:
            ray.init(address=config.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RequestError(f"no Ray cluster answers at ray.address={config.address} ({error})") from error
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address="local",
            num_cpus=config.num_cpus,
            include_dashboard=False,
            object_store_memory=config.object_store_megabytes * 2**20,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    except Exception as error:  # one of Ray's own, such as a machine that is too busy to start it in time
        raise SanakitError(f"Ray does not start here ({error}); try again, or curate without --ray") from error
