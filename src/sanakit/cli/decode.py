"""``sanakit decode``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.options import BorrowedOptions, DeviceOptions, OriginOptions, PlaceOptions, SourceOptions
from sanakit.pipelines.clips.place import ClipPlace


def decode(
    latent: Annotated[Path, typer.Argument(metavar="LATENT", help="A latent that sanakit saved.")],
    files: SourceOptions,
    places: PlaceOptions,
    run: DeviceOptions,
    origin: OriginOptions,
    parts: BorrowedOptions,
    model: Annotated[str | None, typer.Option(help="The model, if it is not the starter.")] = None,
) -> None:
    """Finish a picture whose decoding ran out of memory, from its saved latent. The latent is kept."""
    from sanakit.pipelines.latent_file import load_latent

    saved = load_latent(latent)
    place = places.choose(saved.record.request, num_images=1)

    from sanakit.checkpoints.opening import open_model
    from sanakit.cli.terminal.picture_run import picture_facts, save_to
    from sanakit.pipelines.check import load_to_decode
    from sanakit.pipelines.replay import with_sources

    asked = saved.record.request
    if asked.edit is not None or getattr(asked, "extend", False):  # what was made goes into it, or behind it
        request = with_sources(saved.record, latent, image=origin.image, mask=origin.mask, clip=origin.clip)
        saved = replace(saved, record=saved.record.model_copy(update={"request": request}))
    source, options = files.named(saved.record.model, model, latent)
    opened = open_model(source, device=run.start(), **options, **parts.borrowed)
    pipeline = load_to_decode(saved, latent, opened)
    picture = pipeline.decode(saved, save_to=place if isinstance(place, ClipPlace) else None)
    path = save_to(place, with_metadata=True)(picture)
    if run.as_json:
        print_json(picture_facts(picture, path))
    elif not run.quiet:
        say(path)
