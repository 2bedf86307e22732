"""``sanakit enhance``"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.options import ModelOption, PartsOptions, PlaceOptions
from sanakit.common.errors import RequestError, SanakitError


def enhance(
    run: PartsOptions,
    places: PlaceOptions,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A picture of any origin.")],
    model: ModelOption = "starter",
    factor: Annotated[int, typer.Option(help="How many times longer each side becomes, from 2 to 8.")] = 4,
    prompt: Annotated[
        str | None, typer.Option(help="What is in it; of a picture of ours its own prompt, else none.")
    ] = None,
    strength: Annotated[float | None, typer.Option(help="Share of the steps that change it; 0.3 if not given.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the solver; the model's own if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
) -> None:
    """Make a picture larger with the model itself, which paints what a larger one would show.

    Tile by tile, so that memory does not grow with their number. `sanakit upscale` is quicker and invents nothing.
    """
    from sanakit.pipelines.picture_file import read_record

    if factor < 2:
        raise RequestError(f"--factor {factor} is not usable; it must be from 2 to 8")
    if prompt is None:
        with suppress(SanakitError):
            prompt = read_record(picture).request.prompt
    place = places.with_room(0, num_images=1)
    if place.file is not None and place.file.resolve() == picture.resolve():
        raise RequestError(f"--output {place.file} would replace the picture; choose another name")

    from sanakit.cli.terminal.picture_run import PictureRun, save_to
    from sanakit.pipelines.editing.edit import Edit
    from sanakit.pipelines.request import GenerationRequest
    from sanakit.pipelines.sources.picture import SourcePicture

    request = GenerationRequest(
        prompt=prompt or "",
        guidance_scale=None if prompt else 1.0,  # of nothing there is nothing to follow
        image=SourcePicture.of(picture),
        edit=Edit(factor=factor),
        strength=strength,
        num_inference_steps=steps,
        seed=seed,
    )
    start = time.perf_counter()
    watch = PictureRun(num_images=1, quiet=run.quiet, save=save_to(place, with_metadata=True), on_file=run.name_file)
    with run.telling_what_is_done(lambda: {"pictures": watch.facts}), watch.bar() as on_event:
        pipeline = run.load([request], model, place)
        loaded = time.perf_counter()
        pipeline(request, on_event=on_event)
    run.tell_result(1, watch.told, start=start, loaded=loaded)
