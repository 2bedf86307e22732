"""``sanakit generate``"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import print_json, readable_seconds, tell
from sanakit.cli.terminal.options import (
    DeviceOption,
    DtypeOption,
    ForceOption,
    FormatOption,
    JsonOption,
    ModelOption,
    OutputOption,
    QuietOption,
    RevisionOption,
    VariantOption,
    resolve_device,
)
from sanakit.cli.terminal.output_place import OutputPlace, check_metadata, check_place, choose_place
from sanakit.cli.terminal.prompts import collect_prompts
from sanakit.cli.terminal.size import parse_size

if TYPE_CHECKING:
    from sanakit.pipelines.request import GenerationRequest

_ASSUMED_SIDE = 1024  # for the check of the disk, where the model decides the size


class SolverName(StrEnum):
    """The sampling methods."""

    flow_dpm = "flow-dpm"
    flow_euler = "flow-euler"


def generate(
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT...", help="What to draw; several are allowed.")
    ] = None,
    model: ModelOption = "starter",
    variant: VariantOption = None,
    revision: RevisionOption = None,
    negative_prompt: Annotated[str, typer.Option(help="What to keep away from.")] = "",
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Width x height in pixels; the model's own if not given.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the solver; the model's own if not given.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="How closely to follow the prompt; 1 is off.")] = None,
    pag_scale: Annotated[float, typer.Option(help="Perturbed-attention guidance; 0 is off.")] = 0.0,
    solver: Annotated[SolverName | None, typer.Option(help="The model's own if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Picture j of every prompt has the seed SEED + j.")] = 0,
    num_images: Annotated[int, typer.Option(help="Pictures of every prompt.")] = 1,
    prompt_file: Annotated[Path | None, typer.Option(help="UTF-8, one prompt a line; # begins a remark.")] = None,
    output: OutputOption = None,
    image_format: FormatOption = None,
    metadata: Annotated[
        bool, typer.Option("--metadata/--no-metadata", help="Put prompt, seed and settings into the file.")
    ] = True,
    instruction: Annotated[
        bool, typer.Option("--instruction/--no-instruction", help="Put the model's instruction before the prompt.")
    ] = True,
    dtype: DtypeOption = None,
    device: DeviceOption = "auto",
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn prompts into pictures.

    A FILE that exists is replaced; in a FOLDER every picture gets a new name of prompt and seed.
    """
    texts = collect_prompts(prompts or [], prompt_file)
    width, height = parse_size(size)
    place = choose_place(output, image_format, num_images=len(texts) * num_images)

    from sanakit.pipelines.request import GenerationRequest

    requests = [
        GenerationRequest(
            prompt=text, negative_prompt=negative_prompt, width=width, height=height, num_inference_steps=steps,
            guidance_scale=guidance_scale, pag_scale=pag_scale, solver=solver.value if solver else None, seed=seed,
            num_images=num_images, use_instruction=instruction,
        )
        for text in texts
    ]  # fmt: skip
    total = len(requests) * num_images
    check_place(place, total * 4 * (width or _ASSUMED_SIDE) * (height or _ASSUMED_SIDE))
    if metadata:
        check_metadata(place, [request.prompt + request.negative_prompt for request in requests])
    facts = run(
        requests, place, model=model, variant=variant, revision=revision, dtype=dtype, device=device, force=force,
        with_metadata=metadata, quiet=quiet, num_images=total, print_files=not (as_json or quiet),
    )  # fmt: skip
    if as_json:
        print_json(facts)


def run(
    requests: Sequence[GenerationRequest],
    place: OutputPlace,
    *,
    model: str,
    variant: str | None,
    revision: str | None,
    dtype: str | None,
    device: str,
    force: bool,
    with_metadata: bool,
    quiet: bool,
    num_images: int,
    print_files: bool,
) -> dict[str, Any]:
    """Load the model and make every picture; each is on the disk before the next is begun."""
    from sanakit.cli.terminal.picture_run import PictureRun, picture_facts, save_to, show_log

    show_log(quiet=quiet)
    start = time.perf_counter()
    watch = PictureRun(num_images=num_images, quiet=quiet, save=save_to(place, with_metadata=with_metadata))
    with watch.bar() as on_event:
        import sanakit

        pipeline = sanakit.load(
            model, dtype=dtype, device=resolve_device(device), force=force, variant=variant, revision=revision
        )
        loaded = time.perf_counter()
        images = pipeline(requests, on_event=on_event).images
    finished = time.perf_counter()
    if print_files:
        for file in watch.files:
            print(file)
    what = "1 picture" if num_images == 1 else f"{num_images} pictures"
    loading, drawing = readable_seconds(loaded - start), readable_seconds(finished - loaded)
    tell(f"{what} in {drawing}, after {loading} of loading", quiet=quiet)
    return {
        "pictures": picture_facts(images, watch.files),
        "seconds": {"loading": round(loaded - start, 3), "pictures": round(finished - loaded, 3)},
    }
