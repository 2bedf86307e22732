"""``sanakit decode``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.options import DeviceOptions, PlaceOptions, SourceOptions
from sanakit.common.errors import PictureError


def decode(
    latent: Annotated[Path, typer.Argument(metavar="LATENT", help="A latent that sanakit saved.")],
    files: SourceOptions,
    places: PlaceOptions,
    run: DeviceOptions,
    model: Annotated[str | None, typer.Option(help="The model, if it is not the starter.")] = None,
) -> None:
    """Finish a picture whose decoding ran out of memory, from its saved latent. The latent is kept."""
    from sanakit.pipelines.latent_file import load_latent

    saved = load_latent(latent)
    place = places.choose(saved.record.request, num_images=1)

    from sanakit.checkpoints.bundle import load_bundle
    from sanakit.cli.terminal.picture_run import picture_facts, save_to
    from sanakit.pipelines.text_to_image import TextToImagePipeline

    source, options = files.named(saved.record.model, model, latent)
    bundle = load_bundle(source, device=run.start(), **options)
    if bundle.model_hash != saved.record.model.hash:
        raise PictureError(
            f"{latent} was made with {saved.record.model.name} ({saved.record.model.hash[:10]}), and this is "
            f"{bundle.card.name} ({bundle.model_hash[:10]}); decode it with the model that made it"
        )
    picture = TextToImagePipeline(bundle).decode(saved)
    path = save_to(place, with_metadata=True)(picture)
    if run.as_json:
        print_json(picture_facts(picture, path))
    elif not run.quiet:
        say(path)
