"""Doing the step of a guard's bundle again: same weights, same micro-batch, same noise, no data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from sanakit.common.errors import CheckpointError, RequestError
from sanakit.training.recipes.recipe import build_recipe
from sanakit.training.run.session import Session
from sanakit.training.saving.bundle import read_bundle
from sanakit.training.saving.guard import diagnose
from sanakit.training.step.random_state import restore_random_state
from sanakit.training.step.step import WeightedBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a bundle recorded and what came out now; ``is_reproduced`` if loss and gradient are the same.

    Same is: both not finite in the same way, or equal to a relative 1e-5.
    """

    step: int
    recorded: dict[str, float]
    found: dict[str, float]
    culprit: str

    @property
    def is_reproduced(self) -> bool:
        return all(_same(self.recorded[name], self.found.get(name, math.inf)) for name in ("loss", "gradient_norm"))


def replay_bundle(folder: Path, *, device: str = "cpu") -> Replay:
    """Rebuild the network from the bundle alone and compute its micro-batch again.

    Raises:
        RequestError: the folder is no bundle, or one whose step cannot be made again.
        CheckpointError: a file of it is damaged.
    """
    bundle = read_bundle(folder, device)
    facts = bundle.facts
    try:
        recipe = build_recipe(facts["recipe"], name=str(folder))
        trainee, batch = recipe.replayed(bundle)
        trainee.model.load_state_dict(dict(bundle.weights))
        recorded = {**{n: float(v) for n, v in facts["terms"].items()}, "gradient_norm": float(facts["gradient_norm"])}
        step = int(facts["step"])
        made = {"step": torch.tensor(int(facts.get("stage_step", step - 1)))}
        micro = WeightedBatch(int(facts["number"]), batch, int(facts["seed"]), made=made)
    except RequestError:
        raise
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"the bundle {folder} is damaged ({error})") from error
    restore_random_state(bundle.random)
    found = diagnose(Session(config=recipe, folder=folder, device=device), trainee, micro)
    terms = {**found.terms, "gradient_norm": found.gradient_norm}
    return Replay(step=step, recorded=recorded, found=terms, culprit=found.culprit)


def _same(recorded: float, found: float) -> bool:
    if math.isnan(recorded) or math.isnan(found):
        return math.isnan(recorded) and math.isnan(found)
    return recorded == found or math.isclose(recorded, found, rel_tol=1e-5)
