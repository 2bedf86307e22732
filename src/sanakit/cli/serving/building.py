"""From options to a server: plain values that make one, in this process or in that of a replica."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanakit.cli.serving.options import KeepingOptions, LaneOptions, ReplicaOptions
from sanakit.common.byte_counts import parse_bytes
from sanakit.common.devices import num_cores

if TYPE_CHECKING:
    from sanakit.checkpoints.opening import OpenedModel
    from sanakit.pipelines.text_to_image import TextToImagePipeline
    from sanakit.serving.http.access import Limits
    from sanakit.serving.replicas import Replicas, Started
    from sanakit.serving.service import Bounds
    from sanakit.serving.workers import Workers


@dataclass(frozen=True, slots=True)
class Loading:
    """Gives the pipeline in another process; plain values only."""

    model: str
    options: dict[str, Any]
    max_batch: int

    def __call__(self) -> TextToImagePipeline:
        from sanakit.checkpoints.opening import open_model
        from sanakit.pipelines.text_to_image import TextToImagePipeline

        return TextToImagePipeline(open_model(self.model, **self.options).load(), max_batch=self.max_batch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Building:
    """Args:
    model, options: as `open_model` takes them, a device among the options.
    limits: of its clients.
    gallery: of the studio's page; None for a server without.
    """

    model: str
    options: Mapping[str, Any]
    limits: Limits
    lanes: LaneOptions
    keeping: KeepingOptions
    gallery: Path | None = None
    hosts: tuple[str, ...] = ()

    def open(self) -> OpenedModel:
        """The model's headers; its weights are read in the lanes."""
        from sanakit.checkpoints.opening import open_model

        return open_model(self.model, **self.options)

    def __call__(self) -> Started:
        """With lanes that are ready; raises RequestError or OutputError where an option cannot be used."""
        from sanakit.serving.replicas import Started
        from sanakit.serving.service import Service

        opened, workers = self.open(), self._workers()
        try:
            workers.start()
            folders = {"adapters": self.lanes.adapters, "controls": self.lanes.controls}
            service = Service(opened, workers, bounds=self._bounds(), **folders, aliases=(self.model,))
            return Started(self._app(service), service, workers.close)
        except BaseException:
            workers.close()
            raise

    @property
    def on_cpu(self) -> bool:
        return bool(self.options["device"] == "cpu")

    @property
    def num_lanes(self) -> int:
        return (self.lanes.lanes or max(num_cores() // self.lanes.threads, 1)) if self.on_cpu else 1

    @property
    def slots(self) -> int:
        """Pictures that share the calls of a lane."""
        return 1 if self.on_cpu else self.lanes.max_batch

    def replicas(self, several: ReplicaOptions) -> Replicas:
        """Servers that are built so, with what each of them has and is to do: twice what its lanes hold."""
        from sanakit.serving.replicas import Replicas

        assert several.replicas is not None
        threads = {"num_cpus": float(self.num_lanes * self.lanes.threads)}
        return Replicas(
            least=several.replicas,
            most=several.max_replicas or several.replicas,
            work=2.0 * self.num_lanes * self.slots,
            resources=threads if self.on_cpu else {"num_cpus": 1.0, "num_gpus": 1.0},
            cluster=several.cluster,
        )

    def _workers(self) -> Workers:
        from sanakit.serving.workers import Workers

        lanes = self.lanes
        return Workers(
            Loading(self.model, dict(self.options), lanes.max_batch),
            num_lanes=self.num_lanes,
            threads=lanes.threads,
            slots=self.slots,
            divides=None if self.on_cpu else False,
        )

    def _bounds(self) -> Bounds:
        from sanakit.common.free_memory import free_memory
        from sanakit.serving.service import Bounds

        memory = None if self.lanes.memory is None else parse_bytes(self.lanes.memory)
        if memory is None and self.on_cpu and (free := free_memory()) is not None:
            memory = int(0.8 * free)
        return Bounds(memory=memory, max_waiting=self.lanes.max_waiting, silence=self.lanes.lane_silence)

    def _app(self, service: Any) -> Any:
        from sanakit.common.user_cache import user_cache_folder
        from sanakit.serving.http.app import JobFiles, make_app
        from sanakit.serving.studio.gallery import Gallery
        from sanakit.serving.studio.routes import studio_routes

        pictures = None if self.gallery is None else Gallery(self.gallery)
        files = JobFiles(
            jobs=self.keeping.jobs or user_cache_folder() / "jobs",
            results=self.keeping.results,
            keep=86_400 * self.keeping.keep_jobs,
            on_picture=pictures.keep if pictures else None,
        )
        routers = [studio_routes(service, pictures, hosts=self.hosts)] if pictures else []
        return make_app(service, self.limits, jobs=files, routers=routers)
