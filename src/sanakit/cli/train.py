"""``sanakit train``"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.terminal.console import say, tell
from sanakit.cli.terminal.failures import Interrupted
from sanakit.cli.terminal.options import DeviceOption
from sanakit.cli.terminal.recipe_file import apply_overrides, read_recipe
from sanakit.common.byte_counts import parse_bytes
from sanakit.common.devices import resolve_device
from sanakit.common.errors import RequestError, SanakitError
from sanakit.common.free_memory import ANY_PIECE, keep_freed_memory

if TYPE_CHECKING:
    from sanakit.training.recipes.recipe import Recipe


def train(
    recipes: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RECIPE.yaml...", help="What to train and how, such as recipes/*.yaml; one by one."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the run, of several recipes the folder of their runs; else runs/ and the name."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="a.b=c", help="Change a setting, of several recipes where it fits; may be repeated."
        ),
    ] = None,
    device: DeviceOption = "cpu",
    fit: Annotated[
        str | None, typer.Option(metavar="24GB", help="Choose accumulation, checkpointing and precision to fit.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print stages and memory, and train nothing; needs no weights and no data.")
    ] = False,
    replay: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Repeat the step of a bundle in a run's folder guard/.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Train a model from a recipe; the same command continues a run that was stopped.

    Several processes share the work under torchrun, such as:
    torchrun --nproc-per-node 2 -m sanakit train RECIPE.yaml
    """
    if replay is not None:
        if recipes:
            raise RequestError("--replay repeats one step of a stopped run; it takes no recipe beside it")
        _replay(replay, device=resolve_device(device))
        return
    if not recipes:
        raise RequestError("no recipe is given; one is recipes/finetune-starter.yaml, with --set data.path=FOLDER")
    prepared = list(zip(recipes, _read(recipes, overrides or []), strict=True))
    if plan:
        told = "\n\n".join(f"{path}\n{_plan(recipe, device=device, fit=fit)}" for path, recipe in prepared)
        say(*told.split("\n"))
        return
    is_first = os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"
    from sanakit.cli.terminal.train_progress import logged_to_stderr

    with logged_to_stderr(quiet=quiet, only_warnings=not is_first):
        for path, recipe in prepared:
            folder = (output / path.stem if len(recipes) > 1 else output) if output else Path("runs") / path.stem
            _run(recipe, folder, device=resolve_device(device), fit=fit, quiet=quiet or not is_first)


def _read(paths: list[Path], overrides: list[str]) -> list[Recipe]:
    """The recipes, with what ``--set`` changes in them."""
    from sanakit.training.recipes.recipe import build_recipe, class_of_settings, renamed, renamed_path

    settings = [renamed(read_recipe(path)) for path in paths]
    named = list(map(renamed_path, overrides))
    changed = apply_overrides(settings, named, partial(build_recipe, name="the recipe"), class_of_settings)
    return [build_recipe(each, name=str(path)) for path, each in zip(paths, changed, strict=True)]


def _plan(recipe: Recipe, *, device: str, fit: str | None) -> str:
    """Stages and memory, also for a device that is not here."""
    from sanakit.training.recipes import planning

    place = resolve_device(device) if device == "auto" else device
    recipe = planning.with_precision(recipe, place)
    if fit is not None:
        recipe = planning.fit(recipe, parse_bytes(fit), place)
    return planning.plan_text(recipe, planning.plan(recipe, place))


def _run(recipe: Recipe, folder: Path, *, device: str, fit: str | None, quiet: bool) -> None:
    from sanakit.cli.terminal.train_progress import TrainingProgress, terminated_like_ctrl_c
    from sanakit.training.recipes.train import train as train_recipe
    from sanakit.training.step.interruption import RunInterrupted

    keep_freed_memory(ANY_PIECE)  # every step needs the same ones again
    budget = parse_bytes(fit) if fit is not None else None
    try:
        with terminated_like_ctrl_c(), TrainingProgress(quiet=quiet) as progress:
            train_recipe(recipe, folder, device=device, budget=budget, watchers=progress.watchers())
    except RunInterrupted as stopped:
        raise Interrupted(str(stopped)) from None
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; the same command continues from the last saved state in {folder}") from None
    tell(f"done; the run is in {folder}", quiet=quiet)


def _replay(folder: Path, *, device: str) -> None:
    from sanakit.training.recipes.replay import replay_bundle

    replayed = replay_bundle(folder, device=device)
    for name, value in replayed.recorded.items():
        say(f"{name:24} recorded {value:<14g} now {replayed.found.get(name, float('nan')):g}")
    if replayed.culprit:
        say(f"not finite first: {replayed.culprit}")
    if not replayed.is_reproduced:
        raise SanakitError(f"step {replayed.step} is not reproduced: its loss or gradient differs from the bundle's")
    say(f"step {replayed.step} is reproduced")
