"""From a recipe to a finished run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sanakit.common.errors import ConfigError
from sanakit.common.ranks import process_group, wait_for_all
from sanakit.training.loop import RunResult, run_stages
from sanakit.training.recipes.planning import (
    check_disk,
    fit,
    is_sharded,
    plan,
    plan_text,
    with_compiler,
    with_precision,
)
from sanakit.training.recipes.recipe import Recipe
from sanakit.training.recipes.recipe_file import begun_precision, recipe_text, record_recipe
from sanakit.training.run.run_lock import only_sitting
from sanakit.training.run.session import Session, Watchers


def train(
    recipe: Recipe, folder: Path, *, device: str = "cpu", budget: int | None = None, watchers: Watchers | None = None
) -> RunResult:
    """Train, and leave the weights and a report in ``folder``; a run that is there is continued.

    Args:
        recipe: what to train and how.
        folder: of the run.
        device: of every process; under ``torchrun``, "cuda" is each one's own.
        budget: bytes of a process that the recipe is made to fit into.
        watchers: told what happens.

    Raises:
        ConfigError: the run began with other settings, or the recipe asks for what its type does not do.
        RequestError: nothing fits into the budget, or another process is at this run.
        RunInterrupted, NonFiniteError, OutputError: as of ``run_stages``.
    """
    watchers = watchers or Watchers()
    with process_group() as ranks, ExitStack() as sittings:
        recipe = with_precision(recipe, device, begun=begun_precision(folder))
        if budget is not None:
            recipe = fit(recipe, budget, device)
        plans = plan(recipe, device)
        if ranks.is_first:
            sittings.enter_context(only_sitting(folder))
            check_disk(recipe, plans, folder)
        sharded = is_sharded(recipe, plans, device=device, world=ranks.world)
        if ranks.is_first:
            parts = plan(recipe, device, shards=ranks.world) if sharded else plans
            for notice in filter(None, (recipe_text(recipe), plan_text(recipe, parts))):
                if watchers.on_notice is not None:
                    watchers.on_notice(notice)
            record_recipe(recipe, folder)
        recipe = with_compiler(recipe, device, ranks)
        session = Session(config=recipe, folder=folder, ranks=ranks, device=device, sharded=sharded, watchers=watchers)
        run = recipe.start(session)
        if run.draw_samples is None and recipe.samples.prompts:
            raise ConfigError(f"samples.prompts: a recipe of type {recipe.type} draws no pictures; leave it out")
        result = run_stages(run.stages, session, draw_samples=run.draw_samples)
        if ranks.is_first:
            run.finish(result)
        wait_for_all(ranks)
    return result
