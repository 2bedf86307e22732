"""``sanakit annotate``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.options import PlaceOptions, TellOptions
from sanakit.cli.terminal.size import parse_size
from sanakit.common.errors import RequestError


def annotate(
    told: TellOptions,
    places: PlaceOptions,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="Of any kind.")],
    kind: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE[:THICKNESS]",
            help="edges, scribble, hed, drawing, lines, depth, segmentation, tile, blur.",
        ),
    ] = "edges",
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Resized and cut to this before; the picture's own if not given.")
    ] = None,
) -> None:
    """Show what a ControlNet is shown of a picture."""
    from sanakit.pipelines.controlling.use import ControlUse
    from sanakit.pipelines.sources.picture import SourcePicture

    source = SourcePicture.of(picture)
    use = ControlUse(image=source, type=kind)
    place = places.with_room(0, num_images=1)
    if place.file is not None and place.file.resolve() == picture.resolve():
        raise RequestError(f"--output {place.file} would replace the picture; choose another name")
    width, height = parse_size(size)

    from PIL import Image

    pixels = use.fitted(height or source.height, width or source.width)
    told.name_file(place.write(f"{picture.stem}-{kind.replace(':', '-')}", Image.fromarray(pixels), None))
