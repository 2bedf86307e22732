"""``sanakit train``"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from sanakit.cli.terminal.console import tell
from sanakit.cli.terminal.failures import Interrupted
from sanakit.cli.terminal.options import DeviceOption, resolve_device
from sanakit.cli.terminal.recipe_file import apply_overrides, read_recipe
from sanakit.common.errors import RequestError, SanakitError

if TYPE_CHECKING:
    from sanakit.cli.terminal.train_progress import TrainingProgress
    from sanakit.training.run.run_config import RunConfig


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
    replay: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Repeat the step of a bundle in a run's folder guard/.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Print errors only.")] = False,
) -> None:
    """Train a model from a recipe; the same command continues a run that was stopped.

    Several processes share the work under torchrun, such as:
    torchrun --nproc-per-node 2 -m sanakit train RECIPE.yaml
    """
    if replay is not None:
        if recipes:
            raise RequestError("--replay repeats one step of a stopped run; it takes no recipe beside it")
        _replay(replay, device=device)
        return
    if not recipes:
        raise RequestError("no recipe is given; one is recipes/finetune-starter.yaml, with --set data.path=FOLDER")
    quiet = quiet or os.environ.get("RANK", "0") != "0"
    prepared = []
    for path, settings in zip(recipes, _settings(recipes, overrides or []), strict=True):
        folder = (output / path.stem if len(recipes) > 1 else output) if output else Path("runs") / path.stem
        prepared.append((settings, folder, path))
    for settings, folder, path in prepared:
        try:
            with _terminated_like_ctrl_c():
                run(settings, folder, device=resolve_device(device), quiet=quiet, name=str(path), fit=fit)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; the same command continues from the last saved state in {folder}"
            ) from None
        tell(f"done; the run is in {folder}", quiet=quiet)


def _settings(recipes: list[Path], overrides: list[str]) -> list[dict[str, Any]]:
    """Of each recipe, with what ``--set`` changes in it."""

    def check(settings: Mapping[str, Any]) -> None:
        from sanakit.training.recipes.recipe import build_recipe

        build_recipe(settings, name="the recipe")

    return apply_overrides([read_recipe(path) for path in recipes], overrides, check)


def run(
    settings: Mapping[str, Any], folder: Path, *, device: str, quiet: bool, name: str, fit: str | None = None
) -> None:
    """Build the recipe of the type that the settings name, print and keep it, and train."""
    _log_to_stderr(quiet)
    from sanakit.cli.terminal.train_progress import TrainingProgress
    from sanakit.training.recipes.recipe import build_recipe, recipe_text, record_recipe
    from sanakit.training.step.interruption import RunInterrupted

    recipe = build_recipe(settings, name=name)
    sharded, plan = False, ""
    match recipe.type:
        case "transformer":
            recipe, sharded, plan = _planned(recipe, fit, device)
        case "autoencoder":
            recipe, plan = _planned_autoencoder(recipe, fit, device)
        case _ if fit is not None:
            raise RequestError(f"--fit does not know recipes of type {recipe.type}, such as {name}")
    tell(recipe_text(recipe), quiet=quiet)
    if plan:
        tell(plan, quiet=quiet)
    if os.environ.get("RANK", "0") == "0":
        record_recipe(recipe, folder)
    if recipe.compile:
        with suppress(ImportError):
            import_module("setuptools")  # before distutils, which the compiler imports: a later one refuses it
    with TrainingProgress(quiet=quiet) as progress:
        try:
            _train(recipe, folder, device, progress, sharded=sharded)
        except RunInterrupted as stopped:
            raise Interrupted(str(stopped)) from None


def _train(recipe: RunConfig, folder: Path, device: str, progress: TrainingProgress, *, sharded: bool) -> None:
    from sanakit.training.loop import Watchers

    watchers = Watchers(on_log=progress.on_log, on_step=progress.on_step)
    match recipe.type:
        case "autoencoder":
            from sanakit.training.recipes.autoencoder.recipe import train_autoencoder

            train_autoencoder(recipe, folder, device=device, watchers=watchers)  # type: ignore[arg-type]
        case "dual_encoder":
            from sanakit.training.recipes.dual_encoder.recipe import train_dual_encoder

            train_dual_encoder(recipe, folder, device=device, watchers=watchers)  # type: ignore[arg-type]
        case _:
            from sanakit.training.recipes.transformer.recipe import train_transformer

            train_transformer(
                recipe,  # type: ignore[arg-type]
                folder, device=device, watchers=watchers, on_progress=progress.on_caching, sharded=sharded,
            )  # fmt: skip


def _planned(recipe: RunConfig, fit: str | None, device: str) -> tuple[RunConfig, bool, str]:
    """The recipe as it fits, whether the model is sharded, and the memory plan in words."""
    from sanakit.training.memory.memory_plan import parse_bytes
    from sanakit.training.memory.planning import fit_transformer, is_sharded, plan_transformer
    from sanakit.training.recipes.transformer.recipe import TransformerRecipe

    assert isinstance(recipe, TransformerRecipe)
    if fit is not None:
        recipe = fit_transformer(recipe, parse_bytes(fit), device=device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    plans = plan_transformer(recipe, device=device)
    sharded = is_sharded(recipe, plans, device=device, world=world)
    if sharded:
        plans = plan_transformer(recipe, device=device, shards=world)
    text = "\n".join(
        f"memory of a process in stage {stage.name}:\n{plan.table()}"
        for stage, plan in zip(recipe.stages, plans, strict=True)
    )
    return recipe, sharded, text


def _planned_autoencoder(recipe: RunConfig, fit: str | None, device: str) -> tuple[RunConfig, str]:
    """The recipe as it fits, and the memory plan in words."""
    from sanakit.training.memory.memory_plan import parse_bytes
    from sanakit.training.recipes.autoencoder.plan import fit_autoencoder, plan_autoencoder
    from sanakit.training.recipes.autoencoder.recipe import AutoencoderRecipe

    assert isinstance(recipe, AutoencoderRecipe)
    if fit is not None:
        recipe = fit_autoencoder(recipe, parse_bytes(fit), device=device)
    plans = zip(recipe.phases, plan_autoencoder(recipe, device=device), strict=True)
    return recipe, "\n".join(f"memory of a process in phase {phase.name}:\n{plan.table()}" for phase, plan in plans)


def _replay(folder: Path, *, device: str) -> None:
    from sanakit.training.saving.replay import replay_bundle

    replayed = replay_bundle(folder, device=resolve_device(device))
    for name, value in replayed.recorded.items():
        print(f"{name:24} recorded {value:<14g} now {replayed.found.get(name, float('nan')):g}")
    if replayed.culprit:
        print(f"not finite first: {replayed.culprit}")
    if not replayed.is_reproduced:
        raise SanakitError(f"step {replayed.step} is not reproduced: its loss or gradient differs from the bundle's")
    print(f"step {replayed.step} is reproduced")


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, which torchrun sends, ends the work with a sentence also where no step is running."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _log_to_stderr(quiet: bool) -> None:
    import logging

    if not quiet:
        logging.getLogger("sanakit").setLevel(logging.INFO)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
