"""``sanakit decode``"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import print_json
from sanakit.cli.terminal.options import (
    DeviceOption,
    FormatOption,
    JsonOption,
    OutputOption,
    QuietOption,
    RevisionOption,
    VariantOption,
    chosen_model,
    resolve_device,
)
from sanakit.cli.terminal.output_place import check_place, choose_place


def decode(
    latent: Annotated[Path, typer.Argument(metavar="LATENT", help="A latent that sanakit saved.")],
    model: Annotated[str | None, typer.Option(help="Another source of the model than the latent names.")] = None,
    variant: VariantOption = None,
    revision: RevisionOption = None,
    output: OutputOption = None,
    image_format: FormatOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Finish a picture whose decoding ran out of memory, from its saved latent. The latent is kept."""
    from sanakit.pipelines.latent_file import load_latent

    saved = load_latent(latent)
    request = saved.recipe.request
    place = choose_place(output, image_format, num_images=1)
    check_place(place, 4 * (request.width or 0) * (request.height or 0))

    from sanakit.checkpoints.bundle import load_bundle
    from sanakit.cli.terminal.picture_run import picture_facts, save_to, show_log
    from sanakit.pipelines.text_to_image import TextToImagePipeline

    show_log(quiet=quiet)
    chosen = chosen_model(saved.recipe.model, model=model, variant=variant, revision=revision)
    bundle = load_bundle(chosen.source, device=resolve_device(device), **chosen.load_options())
    # A folder of its own: the pipeline clears up after success, and the user's latent must outlive a full disk.
    pipeline = TextToImagePipeline(bundle, rescue_folder=Path(tempfile.gettempdir()) / "sanakit-decode")
    picture = pipeline.decode(saved)
    path = save_to(place, with_metadata=True)(picture)
    if as_json:
        print_json(picture_facts([picture], [path])[0])
    elif not quiet:
        print(path)
