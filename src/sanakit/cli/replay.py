"""``sanakit replay``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.options import (
    BorrowedOptions,
    DeviceOption,
    OriginOptions,
    PlaceOptions,
    RefineOptions,
    SourceOptions,
    TellOptions,
)
from sanakit.common.devices import resolve_device

NEARLY = 3  # the exit code


def replay(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A picture or clip that sanakit wrote.")],
    files: SourceOptions,
    places: PlaceOptions,
    told: TellOptions,
    origin: OriginOptions,
    refining: RefineOptions,
    parts: BorrowedOptions,
    model: Annotated[str | None, typer.Option(help="The model, if it is not the starter.")] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="One that it was made with, if that is not beside it; repeatable."),
    ] = None,
    control: Annotated[
        list[Path] | None, typer.Option(help="A picture that controlled it, if that is not beside it; repeatable.")
    ] = None,
    control_model: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="A ControlNet that it was made with, if not found; repeatable."),
    ] = None,
    device: DeviceOption = "cpu",
    long: Annotated[bool, typer.Option("--long", help="Also if the record asks for unusually much work.")] = False,
) -> None:
    """Make a picture again from the record inside it, and say whether it is identical.

    It is made in as many threads as before. Exit code 0 if every pixel is the same, 3 if none differs by more than one
    of 255 levels, else 1. The new picture is only written with --output.
    """
    from sanakit.pipelines.replay import read_made, size_of

    record, pixels = read_made(picture)
    if not long:
        record.check_work(picture, size_of(picture, pixels))
    place = places.choose(record.request, num_images=1) if places.output is not None else None

    from sanakit.checkpoints.opening import open_model
    from sanakit.cli.terminal.picture_run import PictureRun, save_to
    from sanakit.pipelines.check import load_for
    from sanakit.pipelines.replay import Sources, request_again, require_refiner
    from sanakit.pipelines.replay import replay as replay_picture

    given = Sources(image=origin.image, mask=origin.mask, clip=origin.clip, adapters=adapter or ())
    given |= Sources(controls=control or (), control_models=control_model or ())
    request = request_again(record, picture, **given)  # before weights are read
    source, options = files.named(record.model, model, picture)
    if refining.refine is None:
        require_refiner(record, picture)
    refiner = refining.opened(clips=record.refiner is not None)
    save = save_to(place, with_metadata=True) if place else None
    watch = PictureRun(num_images=1, quiet=told.quiet, save=save, on_file=lambda file: told.tell(f"written to {file}"))
    with watch.bar() as on_event:
        opened = open_model(source, device=resolve_device(device), **options, **parts.borrowed)
        pipeline = load_for([request], replace(opened, refiner=refiner))
        given = Sources(image=request.image, mask=request.edit and request.edit.mask, adapters=request.adapters)
        given["controls"] = [use.image for use in request.controls]
        given["clip"] = getattr(request, "clip", None)
        given["control_models"] = [
            each.model for each in request.controls if each.model is not None and each.model.is_here
        ]
        result = replay_picture(picture, pipeline, on_event=on_event, **given, long=long)
    file = str(watch.files[0]) if watch.files else None
    if told.as_json:
        again = result.image.record.model_dump(mode="json")
        differences = list(result.differences)
        facts = {"identical": result.identical, "outcome": result.outcome, "differences": differences}
        print_json({**facts, "file": file, "recipe": again})
    elif not told.quiet:
        say(result.outcome, *(f"  {text}" for text in result.differences))
    if not result.identical:
        raise typer.Exit(NEARLY if result.outcome == "nearly identical" else 1)
