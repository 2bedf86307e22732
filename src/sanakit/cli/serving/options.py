"""What servers are told on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.common.byte_counts import parse_bytes
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.serving.http.access import Limits

KEYS_VARIABLE = "SANAKIT_API_KEYS"
_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class AddressOptions:
    """Where a server is, and who may ask."""

    host: Annotated[str, typer.Option(help="0.0.0.0 for every network; give keys then.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Keys of clients, one a line; also in ${KEYS_VARIABLE}.")
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
    controls: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="ControlNets that requests may name, folders or files.")
    ] = None


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
        from sanakit.serving.jobs.postgres import is_postgres

        if self.jobs is not None and "://" in self.jobs:
            if not is_postgres(self.jobs):
                raise RequestError(f"--jobs is a folder or postgresql://..., not {self.jobs.partition('://')[0]}://")
            if self.results is None:
                raise RequestError(
                    "--jobs postgresql://... holds no files; give --results, which all its servers reach"
                )


@dataclass(frozen=True, kw_only=True)
class ReplicaOptions:
    """Several servers behind one address."""

    replicas: Annotated[
        int | None, typer.Option(help="Servers of Ray Serve behind one address, at least so many.", min=1)
    ] = None
    max_replicas: Annotated[
        int | None, typer.Option(help="And at most, where pictures wait; as many if not given.", min=1)
    ] = None
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a cluster of Ray to run them in, or auto.")
    ] = None

    def check(self, address: AddressOptions, keeping: KeepingOptions) -> None:
        """Raises RequestError for what does not go together."""
        from sanakit.serving.jobs.postgres import is_postgres

        if self.replicas is None:
            if self.max_replicas is not None or self.cluster is not None:
                raise RequestError("--max-replicas and --cluster belong to --replicas; give it.")
        elif address.port == 0:
            raise RequestError("--port 0 is not offered with --replicas; name one.")
        elif self.cluster is not None and not is_postgres(keeping.jobs):
            raise RequestError("replicas in a --cluster share their jobs in PostgreSQL; give --jobs postgresql://...")
