"""An adapter as a file in diffusers' layout, with PEFT's settings and the tags that galleries of kohya's files show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanakit.adapters.adapter import Adapter
from sanakit.adapters.side_paths import Full, Hadamard, Kronecker, LowRank, Place, SidePath
from sanakit.checkpoints.adapters.files import METADATA
from sanakit.checkpoints.adapters.fit import LOHA
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.errors import RequestError
from sanakit.common.files import written_aside


def write_adapter(
    path: Path, adapter: Adapter, layers: Layers, *, facts: Mapping[str, str] | None = None, force: bool = False
) -> None:
    """Write it in float32, whole or not at all.

    Args:
        path: of the file, ``.safetensors``.
        adapter: made for the network of ``layers``.
        facts: more tags, such as `tags` gives.
        force: replace a file that is there.

    Raises:
        OutputError: it cannot be written, or is there already.
    """
    paths = dict(_as_in_diffusers(adapter, layers))
    tensors: dict[str, Tensor] = {}
    plain = all(isinstance(each, LowRank) for each in paths.values())
    for name, each in paths.items():
        convolved = name in layers.convolutions
        for leaf, tensor in _leaves(each, with_alpha=not plain).items():
            made = tensor[:, :, None, None] if convolved and leaf.startswith("lora_") and tensor.ndim == 2 else tensor
            tensors[f"transformer.{name}.{leaf}"] = made.detach().float().contiguous()
    metadata = {**_kohya_tags(paths), **(facts or {})}
    if plain:
        settings = {f"transformer.{name}": value for name, value in _peft_settings(paths).items()}
        metadata[METADATA] = json.dumps(settings, sort_keys=True)
    with written_aside(path, force=force) as aside:
        write_safetensors(aside, tensors, metadata)


def tags(*, title: str, trained_on: str = "", trigger: str = "", num_images: int | None = None) -> dict[str, str]:
    """What galleries show of an adapter, in the words of kohya's trainer and of the model specification."""
    found = {
        "ss_output_name": title,
        "ss_sd_model_name": trained_on,
        "ss_num_train_images": "" if num_images is None else str(num_images),
        "ss_tag_frequency": json.dumps({"images": {trigger: num_images or 1}}) if trigger else "",
        "modelspec.title": title,
        "modelspec.trigger_phrase": trigger,
    }
    return {name: value for name, value in found.items() if value}


def _as_in_diffusers(adapter: Adapter, layers: Layers) -> Iterator[tuple[str, SidePath]]:
    """Each path under the name of its layer in diffusers; one of a layer that is in pieces there as several."""
    names = {place: name for name, place in layers.diffusers.items()}
    for path in adapter.paths.values():
        if path.place in names:
            yield names[path.place], path
            continue
        for place, name in names.items():
            start = place.start - path.place.start
            if place.layer == path.place.layer and 0 <= start < path.place.out_features:
                yield name, _rows_of(path, place, slice(start, start + place.out_features))


def _rows_of(path: SidePath, place: Place, rows: slice) -> SidePath:
    """The same of some rows; of LoKr, which has no rows of its own, every number."""
    magnitude = None if path.magnitude is None else path.magnitude[rows]
    match path:
        case LowRank():
            return LowRank(place, path.down, path.up[rows], scale=path.scale, magnitude=magnitude)
        case Hadamard():
            factors = (path.a1[rows], path.b1, path.a2[rows], path.b2)
            return Hadamard(place, factors, scale=path.scale, magnitude=magnitude)
    if magnitude is not None:
        raise RequestError(
            f"{path.place.layer} has a magnitude over a Kronecker product, which diffusers has no rows of"
        )
    return Full(place, path.matrix()[rows], scale=path.scale)


def _leaves(path: SidePath, *, with_alpha: bool) -> dict[str, Tensor]:
    """What files call the parts of a path; where all are LoRA, PEFT's config tells their alpha."""
    alpha = torch.tensor(float(path.scale * path.rank))
    leaves: dict[str, Tensor]
    match path:
        case LowRank():
            leaves = {"lora_A.weight": path.down, "lora_B.weight": path.up} | ({"alpha": alpha} if with_alpha else {})
        case Hadamard():
            leaves = dict(zip(LOHA, (path.a1, path.b1, path.a2, path.b2), strict=True), alpha=alpha)
        case Kronecker() if path.is_ranked:
            leaves = {**_named("lokr_w1", path.left), **_named("lokr_w2", path.right), "alpha": alpha}
        case Kronecker():  # of two whole matrices, whose alpha nobody follows
            leaves = {"lokr_w1": path.left[0] * path.scale, "lokr_w2": path.right[0]}
        case _:
            leaves = {"diff": path.matrix() * path.scale}
    return leaves if path.magnitude is None else {**leaves, "lora_magnitude_vector": path.magnitude}


def _named(name: str, factors: Iterable[Tensor]) -> dict[str, Tensor]:
    parts = list(factors)
    return {name: parts[0]} if len(parts) == 1 else {f"{name}_a": parts[0], f"{name}_b": parts[1]}


def _peft_settings(paths: Mapping[str, SidePath]) -> dict[str, Any]:
    """PEFT's config of a LoRA: the commonest rank and alpha, and the layers that have others."""
    ranks = {name: path.rank for name, path in paths.items()}
    alphas = {name: path.scale * path.rank for name, path in paths.items()}
    rank, alpha = (Counter(each.values()).most_common(1)[0][0] for each in (ranks, alphas))
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {name: own for name, own in ranks.items() if own != rank},
        "alpha_pattern": {name: own for name, own in alphas.items() if own != alpha},
        "target_modules": sorted(paths),
        "use_dora": any(path.magnitude is not None for path in paths.values()),
        "use_rslora": False,
        "lora_bias": False,
        "bias": "none",
        "lora_dropout": 0.0,
    }


def _kohya_tags(paths: Mapping[str, SidePath]) -> dict[str, str]:
    first = next(iter(paths.values()))
    return {
        "ss_base_model_version": "sana",
        "ss_network_module": "networks.lora" if isinstance(first, LowRank) else "lycoris.kohya",
        "ss_network_dim": str(first.rank),
        "ss_network_alpha": str(first.scale * first.rank),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "sana/lora",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
    }
