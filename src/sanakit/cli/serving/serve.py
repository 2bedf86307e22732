"""``sanakit serve``"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.options import ModelArgument, PartsOptions
from sanakit.common.byte_counts import parse_bytes
from sanakit.common.devices import num_cores
from sanakit.common.errors import RequestError, optional

if TYPE_CHECKING:
    from sanakit.pipelines.text_to_image import TextToImagePipeline
    from sanakit.serving.http.access import Limits

_EXTRA = "sanakit serve needs FastAPI and uvicorn; install them with: pip install 'sanakit[serve]'"
_KEYS_VARIABLE = "SANAKIT_API_KEYS"
_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class AddressOptions:
    """Where a server is, and who may ask."""

    host: Annotated[str, typer.Option(help="0.0.0.0 for every network; give keys then.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Keys of clients, one a line; also in ${_KEYS_VARIABLE}.")
    ] = None
    rate: Annotated[float | None, typer.Option(help="Requests of a key a minute.", min=0.1)] = None
    max_body: Annotated[str, typer.Option(metavar="SIZE", help="Of one request.")] = "64MB"
    max_pixels_of_picture: Annotated[int, typer.Option(metavar="NUMBER", help="Of one picture.", min=1)] = 4096 * 4096

    @property
    def own_names(self) -> tuple[str, ...]:
        """Of a server that nobody else's machine reaches; none of any other."""
        return _LOCAL if self.host.lower() in _LOCAL else ()

    def limits(self, keys: Mapping[str, str]) -> Limits:
        """Without keys, a local server is asked under its own names only."""
        from sanakit.serving.http.access import Limits

        return Limits(
            keys=keys,
            body=parse_bytes(self.max_body),
            rate=self.rate or float("inf"),
            pixels=self.max_pixels_of_picture,
            hosts=() if keys else self.own_names,
        )


@dataclass(frozen=True, kw_only=True)
class LaneOptions:
    """How pictures are made."""

    lanes: Annotated[int | None, typer.Option(help="Pictures made at once on the CPU; one a core.", min=1)] = None
    threads: Annotated[int, typer.Option(help="Of the CPU in each lane.", min=1)] = 1
    max_batch: Annotated[int, typer.Option(help="Pictures that share a network call on a GPU.", min=1)] = 8
    max_waiting: Annotated[int, typer.Option(help="Pictures that may wait.", min=1)] = 1000
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="For all pictures together, beside weights; what is free.")
    ] = None
    lane_silence: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=1.0,
            help="A lane is replaced that says nothing for so long, and 10 times longer than any before.",
        ),
    ] = 600.0  # longer than clients wait
    adapters: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Adapters that requests may name, .safetensors files.")
    ] = None


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


@dataclass(frozen=True, kw_only=True)
class KeepingOptions:
    """What outlives the process, and its end."""

    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL", help="Where jobs are kept, also postgresql://...; the user's cache if not given."
        ),
    ] = None
    results: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL", help="Where their files are, also s3://...; the folder of --jobs if not given."
        ),
    ] = None
    keep_jobs: Annotated[float, typer.Option(metavar="DAYS", help="After they ended.", min=0)] = 7.0
    stop_within: Annotated[float, typer.Option(help="Seconds for running pictures at the end.", min=0)] = 30.0

    def check(self) -> None:
        """Raises RequestError for places that cannot be used together."""
        if self.jobs is not None and "://" in self.jobs:
            if not self.jobs.startswith(("postgresql://", "postgres://")):
                raise RequestError(f"--jobs is a folder or postgresql://..., not {self.jobs.partition('://')[0]}://")
            if self.results is None:
                raise RequestError(
                    "--jobs postgresql://... holds no files; give --results, which all its servers reach"
                )


def serve(
    run: PartsOptions,
    address: AddressOptions,
    lanes: LaneOptions,
    keeping: KeepingOptions,
    model: ModelArgument = "starter",
) -> None:
    """Serve a model over HTTP, with OpenAI's images API."""
    serve_model(run, address, lanes, keeping, model)


def serve_model(
    run: PartsOptions,
    address: AddressOptions,
    lanes: LaneOptions,
    keeping: KeepingOptions,
    model: str,
    *,
    gallery: Path | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Until a signal comes; with the studio's page over a ``gallery`` where there is one.

    Raises:
        RequestError, OutputError: an option cannot be used.
    """
    optional("fastapi", _EXTRA)
    optional("uvicorn", _EXTRA)
    keeping.check()
    device = run.start()
    from sanakit.checkpoints.identity.card import VideoDefaults
    from sanakit.checkpoints.opening import open_model
    from sanakit.common.free_memory import free_memory
    from sanakit.common.user_cache import user_cache_folder
    from sanakit.serving.http.access import read_keys
    from sanakit.serving.http.app import JobFiles, make_app
    from sanakit.serving.http.server import serve_app
    from sanakit.serving.service import Bounds, Service
    from sanakit.serving.studio.gallery import Gallery
    from sanakit.serving.studio.routes import studio_routes
    from sanakit.serving.workers import Workers

    keys = read_keys(address.keys, os.environ.get(_KEYS_VARIABLE, ""))
    if not address.own_names and not keys:
        run.tell(f"everybody who reaches {address.host} may ask: there are no keys")
    if lanes.adapters is not None and not lanes.adapters.is_dir():
        raise RequestError(f"--adapters {lanes.adapters} is no folder")
    memory = None if lanes.memory is None else parse_bytes(lanes.memory)
    options: dict[str, Any] = {"device": device, "dtype": run.dtype, "hub": run.hub, **run.parts}
    opened = open_model(model, **options)
    if isinstance(opened.card.defaults, VideoDefaults):
        raise RequestError(f"{opened.card.name} makes clips, and a server makes pictures only so far")
    on_cpu = device == "cpu"
    workers = Workers(
        Loading(model, options, lanes.max_batch),
        num_lanes=(lanes.lanes or max(num_cores() // lanes.threads, 1)) if on_cpu else 1,
        threads=lanes.threads,
        slots=1 if on_cpu else lanes.max_batch,
        divides=None if on_cpu else False,
    )
    try:
        workers.start()
        if memory is None and on_cpu and (free := free_memory()) is not None:
            memory = int(0.8 * free)
        bounds = Bounds(memory=memory, max_waiting=lanes.max_waiting, silence=lanes.lane_silence)
        service = Service(opened, workers, bounds=bounds, adapters=lanes.adapters, aliases=(model,))
        limits = address.limits(keys)
        pictures = None if gallery is None else Gallery(gallery)
        files = JobFiles(
            jobs=keeping.jobs or user_cache_folder() / "jobs",
            results=keeping.results,
            keep=86_400 * keeping.keep_jobs,
            on_picture=pictures.keep if pictures else None,
        )
        routers = [studio_routes(service, pictures, hosts=address.own_names)] if pictures else []

        def tell_ready(url: str) -> None:
            run.tell(f"{opened.card.name} is served at {url}")
            on_ready(url)

        app = make_app(service, limits, jobs=files, routers=routers)
        serve_app(
            app, service, host=address.host, port=address.port, stop_within=keeping.stop_within,
            on_hangup=lambda: service.reload(lambda: open_model(model, **options)), on_ready=tell_ready,
        )  # fmt: skip
    finally:
        workers.close()
