"""``sanakit serve``"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sanakit.cli.serving.building import Building
from sanakit.cli.serving.options import KEYS_VARIABLE, AddressOptions, KeepingOptions, LaneOptions, ReplicaOptions
from sanakit.cli.terminal.options import ModelArgument, PartsOptions
from sanakit.common.errors import RequestError, optional

_EXTRA = "sanakit serve needs FastAPI and uvicorn; install them with: pip install 'sanakit[serve]'"


def serve(
    run: PartsOptions,
    address: AddressOptions,
    lanes: LaneOptions,
    keeping: KeepingOptions,
    several: ReplicaOptions,
    model: ModelArgument = "starter",
) -> None:
    """Serve a model over HTTP, with OpenAI's images API."""
    several.check(address, keeping)
    if several.replicas is None:
        serve_model(run, address, lanes, keeping, model)
        return
    building = build(run, address, replace(lanes, lanes=lanes.lanes or 1), keeping, model)
    name = building.open().card.name
    from sanakit.serving.replicas import serve_replicas

    serve_replicas(
        building, building.replicas(several), host=address.host, port=address.port,
        stop_within=keeping.stop_within, on_ready=lambda url: run.tell(f"{name} is served at {url}"),
    )  # fmt: skip


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
    building = replace(build(run, address, lanes, keeping, model), gallery=gallery, hosts=address.own_names)
    from sanakit.serving.http.server import serve_app

    started = building()
    service = started.service

    def tell_ready(url: str) -> None:
        run.tell(f"{service.name} is served at {url}")
        on_ready(url)

    try:
        serve_app(
            started.app, service, host=address.host, port=address.port, stop_within=keeping.stop_within,
            on_hangup=lambda: service.reload(building.open), on_ready=tell_ready,
        )  # fmt: skip
    finally:
        started.close()


def build(
    run: PartsOptions, address: AddressOptions, lanes: LaneOptions, keeping: KeepingOptions, model: str
) -> Building:
    """What makes the server that is asked for; raises RequestError for options that cannot be used."""
    optional("fastapi", _EXTRA)
    optional("uvicorn", _EXTRA)
    keeping.check()
    from sanakit.serving.http.access import read_keys

    keys = read_keys(address.keys, os.environ.get(KEYS_VARIABLE, ""))
    if not address.own_names and not keys:
        run.tell(f"everybody who reaches {address.host} may ask: there are no keys")
    for name, folder in (("adapters", lanes.adapters), ("controls", lanes.controls)):
        if folder is not None and not folder.is_dir():
            raise RequestError(f"--{name} {folder} is no folder")
    options = {"device": run.start(), "dtype": run.dtype, "hub": run.hub, **run.parts}
    return Building(model=model, options=options, limits=address.limits(keys), lanes=lanes, keeping=keeping)
