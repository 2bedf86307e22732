"""``sanakit data cache`` and ``sanakit data captions score``: features ahead of a run, and scores of captions."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.cli.terminal.console import print_json, say
from sanakit.cli.terminal.failures import FAILURE
from sanakit.cli.terminal.options import AlsoOption, DeviceOption, TellOptions, TrustOptions, gathered
from sanakit.common.devices import resolve_device
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.data.samples import Problem
    from sanakit.features.cache_report import CacheReport
    from sanakit.features.configs import FilesData
    from sanakit.features.encoders import Encoders
    from sanakit.features.work import Demand

_KEPT = "{}, and the same command continues"

captions_app = typer.Typer(no_args_is_help=True, help="Work on the captions of a data set.")


def cache(
    told: TellOptions,
    path: Annotated[
        Path | None, typer.Argument(metavar="[PATH]", help="Data set; the recipe's own if not given.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Cache what the stages of this recipe need, with its encoders.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model whose encoders are used: folder, file, hub id, or starter.")
    ] = None,
    resolution: Annotated[
        list[int] | None, typer.Option(min=1, help="Pixels; may be repeated for several in one run.")
    ] = None,
    frames: Annotated[
        list[int] | None, typer.Option(min=1, help="Of clips: length in frames; may be repeated, 1 takes pictures in.")
    ] = None,
    fps: Annotated[
        list[float] | None, typer.Option(min=0.1, help="Of clips: frames a second; may be repeated.")
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Folder of the cache; the user's if not given.")
    ] = None,
    also: AlsoOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Compute the latents and text features of a data set once, so that every run that needs them finds them.

    Stop it at any time: the same command continues. Exit code 1 if a picture could not be used.
    """
    if (recipe is None) == (model is None):
        raise RequestError("--recipe RECIPE.yaml or --model MODEL says with which encoders; give one of the two")
    if recipe is None and path is None:
        raise RequestError("the data set is not named; give PATH, or a recipe that has one")
    if recipe is None and not resolution:
        raise RequestError("--resolution says how many pixels the pictures are trained at, such as --resolution 512")
    where = resolve_device(device)

    from sanakit.features.cache_report import cache_files
    from sanakit.features.configs import FilesData
    from sanakit.features.encoders import encoders_of_model
    from sanakit.features.work import Demand, Work

    if recipe is not None:
        config, encoders, stages = _of_recipe(recipe, where)
    else:
        config, encoders, stages = FilesData(path=str(path)), encoders_of_model(str(model), device=where), []
    places = {"path": path, "cache_folder": cache_dir}
    changes: dict[str, Any] = {name: str(place) for name, place in places.items() if place is not None}
    config = replace(config, **changes, also=(*config.also, *(also or ())))
    if resolution:
        stages = [Demand(resolutions=tuple(resolution), batch_size=1, seed=0)]
    lengths = {name: tuple(given) for name, given in (("frames", frames), ("fps", fps)) if given}
    stages = [replace(stage, **lengths) for stage in stages]  # type: ignore[arg-type]
    reports = []
    with encoders.loaded():
        for sizes in stages:
            with told.bar("caching", unit="features", kept=_KEPT.format("what was computed is kept")) as on_progress:
                work = Work(encoders=encoders, device=where, on_progress=on_progress)
                reports.append(cache_files(config, sizes, work))
    if told.as_json:
        print_json([asdict(report) for report in reports])
    else:
        for sizes, report in zip(stages, reports, strict=True):
            _print_report(report, sizes.resolutions)
    if any(report.problems for report in reports):
        raise typer.Exit(FAILURE)


def _of_recipe(recipe: Path, device: str) -> tuple[FilesData, Encoders, list[Demand]]:
    """Its data, its encoders, and the sizes of its stages."""
    from sanakit.cli.terminal.recipe_file import read_recipe
    from sanakit.common.config import from_mapping
    from sanakit.features.configs import FilesData
    from sanakit.features.work import Demand
    from sanakit.training.recipes.transformer.networks import patch_of
    from sanakit.training.recipes.transformer.recipe import TransformerRecipe
    from sanakit.training.recipes.transformer.starting_model import starting_model

    settings = from_mapping(TransformerRecipe, read_recipe(recipe), where="recipe")
    if not isinstance(settings.data, FilesData):
        raise RequestError(f"the data of {recipe} is {settings.data.type}, which is cached as its training begins")
    shapes = dict.fromkeys((stage.resolutions, stage.frames, stage.fps) for stage in settings.stages)
    start = starting_model(settings, device)
    patch = patch_of(start.transformer)
    stages = [
        Demand(resolutions=sizes, batch_size=1, seed=0, frames=frames, fps=fps, patch=patch)
        for sizes, frames, fps in shapes
    ]
    return settings.data, start.encoders, stages


def _print_report(report: CacheReport, sizes: tuple[int, ...]) -> None:
    pixels = ", ".join(map(str, sizes))
    say(f"{report.num_samples} samples at {pixels} px in {len(report.bins)} bins: {report.folder}")
    say(f"latents: {report.latents.reused} reused, {report.latents.computed} computed")
    say(f"captions: {report.texts.reused} reused, {report.texts.computed} computed")
    for key in report.dropped:
        say(f"{key}: left out, its captions score too low")
    for note in report.notes:
        say(note)
    _print_problems(report.problems)


@captions_app.command("score")
@gathered
def score(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of pictures with captions, or of shards.")],
    told: TellOptions,
    trust: TrustOptions,
    scorer: Annotated[str, typer.Option(help="starter, or a folder or hub id of a CLIP or SigLIP.")] = "starter",
    again: Annotated[bool, typer.Option("--replace", help="Score captions again that have a score.")] = False,
    also: AlsoOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Score how well each caption fits its picture, and write the scores beside the shards or pictures.

    Stop it at any time: the same command continues. Exit code 1 if a picture could not be read.
    """
    from sanakit.data.caption_scores import score_captions
    from sanakit.scoring.scorers import load_scorer

    judge = load_scorer(scorer, device=resolve_device(device), hub=trust.trusting(scorer))
    with told.bar("scoring", unit="pictures", kept=_KEPT.format("finished shards keep their scores")) as on_progress:
        found = score_captions(path, judge, replace=again, also=also or (), on_progress=on_progress)
    if told.as_json:
        print_json({"path": str(path), "scorer": judge.name, **asdict(found)})
    else:
        _print_problems(found.problems)
        if found.cut:
            named = ", ".join(found.cut[:3]) + (", ..." if len(found.cut) > 3 else "")
            told.tell(
                f"{len(found.cut)} captions are longer than {judge.name} reads, which scored their start: {named}"
            )
        told.tell(f"{found.num_scored} captions scored, {found.num_kept} had a score")
    if found.problems:
        raise typer.Exit(FAILURE)


def _print_problems(problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        say(f"{problem.key}: {problem.reason}: {problem.detail}")
