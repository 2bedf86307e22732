"""``sanakit replay``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import print_json, tell
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

if TYPE_CHECKING:
    from sanakit.pipelines.record import ModelReference


def replay(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A picture that sanakit wrote.")],
    model: Annotated[str | None, typer.Option(help="Another source of the model than the picture names.")] = None,
    variant: VariantOption = None,
    revision: RevisionOption = None,
    output: OutputOption = None,
    image_format: FormatOption = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a picture again from the recipe inside it, and say whether it is identical.

    Exit code 0 if every pixel is the same, 1 if not. The new picture is only written with --output.
    """
    from sanakit.pipelines.picture_file import read_recipe

    recipe = read_recipe(picture)
    place = choose_place(output, image_format, num_images=1) if output is not None else None
    if place is not None:
        check_place(place, 4 * (recipe.request.width or 0) * (recipe.request.height or 0))
    chosen = chosen_model(recipe.model, model=model, variant=variant, revision=revision)
    facts = run(picture, chosen, place, device=device, quiet=quiet)
    if as_json:
        print_json(facts)
    elif not quiet:
        print("identical" if facts["identical"] else "different")
        for difference in facts["differences"]:
            print(f"  {difference}")
    if not facts["identical"]:
        raise typer.Exit(1)


def run(picture: Path, model: ModelReference, place: Any, *, device: str, quiet: bool) -> dict[str, Any]:
    """Replay, and write the new picture if there is a place for it."""
    import sanakit
    from sanakit.cli.terminal.picture_run import PictureRun, save_to, show_log
    from sanakit.pipelines.replay import replay as replay_picture

    show_log(quiet=quiet)
    watch = PictureRun(num_images=1, quiet=quiet, save=save_to(place, with_metadata=True) if place else None)
    with watch.bar() as on_event:
        pipeline = sanakit.load(model.source, device=resolve_device(device), **model.load_options())
        result = replay_picture(picture, pipeline, on_event=on_event)
    if watch.files:
        tell(f"written to {watch.files[0]}", quiet=quiet)
    return {
        "identical": result.identical,
        "differences": list(result.differences),
        "file": str(watch.files[0]) if watch.files else None,
        "recipe": result.image.recipe.model_dump(mode="json"),
    }
