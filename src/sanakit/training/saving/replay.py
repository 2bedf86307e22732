"""Doing the step of a guard's bundle again: same weights, same micro-batch, same noise, no data set."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sanakit.common.config import from_mapping
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.features.batches import PixelBatch
from sanakit.training.run.stage import Trainee
from sanakit.training.saving.guard import BUNDLE_FILE, examine
from sanakit.training.step.random_state import restore_random_state

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What a bundle recorded and what came out now; ``is_reproduced`` if loss and gradient are the same.

    Same is: both not finite in the same way, or equal to a relative 1e-5.
    """

    step: int
    recorded: dict[str, float]
    found: dict[str, float]
    culprit: str
    is_reproduced: bool


def replay_bundle(folder: Path, *, device: str = "cpu") -> Replay:
    """Rebuild the network from the bundle alone and compute its micro-batch again.

    Raises:
        RequestError: the folder is no bundle.
        CheckpointError: a file of it is damaged.
    """
    path = folder / BUNDLE_FILE
    if not path.is_file():
        raise RequestError(f"{folder} is no bundle of a stopped step: it has no {BUNDLE_FILE}")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        tensors = {
            name: load_file(folder / f"{name}.safetensors", device="cpu" if name == "random" else device)
            for name in ("batch", "weights", "random")
        }
        trainee, batch = _rebuild(facts, tensors["batch"], device)
        trainee.model.load_state_dict(tensors["weights"])
        recorded = {**{n: float(v) for n, v in facts["terms"].items()}, "gradient_norm": float(facts["gradient_norm"])}
        seed, precision, step = int(facts["seed"]), facts["precision"], int(facts["step"])
    except RequestError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"the bundle {folder} is damaged ({error})") from error
    restore_random_state(tensors["random"])
    diagnosis = examine(trainee, batch, seed, precision=precision, device=device)
    found = {**diagnosis.terms, "gradient_norm": diagnosis.gradient_norm}
    return Replay(
        step=step,
        recorded=recorded,
        found=found,
        culprit=diagnosis.culprit,
        is_reproduced=all(_same(recorded[name], found.get(name, math.inf)) for name in ("loss", "gradient_norm")),
    )


def unflatten(cls: type[T], tensors: Mapping[str, Tensor], prefix: str = "batch") -> T:
    """The batch whose fields ``guard.flatten`` wrote."""
    hints, values = typing.get_type_hints(cls), {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name = f"{prefix}.{field.name}"
        values[field.name] = tensors[name] if name in tensors else unflatten(hints[field.name], tensors, name)
    return cls(**values)


def _rebuild(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], device: str) -> tuple[Trainee, Any]:
    constants = {n.removeprefix("constants."): t for n, t in tensors.items() if n.startswith("constants.")}
    recipe, stage = facts["recipe"], facts["stage"]
    match recipe["type"]:
        case "transformer":
            from sanakit.features.batches import LatentBatch
            from sanakit.training.recipes.transformer.recipe import TransformerRecipe, rebuild_trainee

            trainee = rebuild_trainee(from_mapping(TransformerRecipe, recipe), stage, constants, facts["model"], device)
            return trainee, unflatten(LatentBatch, tensors)
        case "autoencoder":
            return _rebuild_autoencoder(facts, device), unflatten(PixelBatch, tensors)
        case other:
            raise RequestError(f"bundles of recipes of type {other} cannot be replayed")


def _rebuild_autoencoder(facts: Mapping[str, Any], device: str) -> Trainee:
    from sanakit.models.autoencoders.dc_ae import DCAutoencoder
    from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
    from sanakit.training.objectives.perceptual import build_perceptual
    from sanakit.training.recipes.autoencoder.recipe import AutoencoderRecipe, build_trainees

    recipe, stage = from_mapping(AutoencoderRecipe, facts["recipe"]), facts["stage"]
    phase = recipe.phases[stage]
    if phase.gan is not None:
        raise RequestError(f"phase {phase.name} trains against a discriminator, whose weights are not in a bundle")
    model = DCAutoencoder(from_mapping(DCAutoencoderConfig, facts["model"])).to(device)
    weighed = phase.objective.perceptual_weight
    perceptual = build_perceptual(recipe.perceptual, device=device) if weighed else None
    return build_trainees(recipe, stage, model, perceptual, device)[0]


def _same(recorded: float, found: float) -> bool:
    if math.isnan(recorded) or math.isnan(found):
        return math.isnan(recorded) and math.isnan(found)
    return recorded == found or math.isclose(recorded, found, rel_tol=1e-5)
