"""Where the layers that adapter files name lie in our network: by every layout that its weights have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sanakit.adapters.side_paths import Place
from sanakit.checkpoints.networks.key_maps import KeyMap, Pointwise
from sanakit.checkpoints.networks.kind import NetworkKind

_PREFIXES = ("base_model", "model", "transformer", "diffusion_model", "unet", "module", "_orig_mod")
_FLAT_PREFIXES = ("lora_unet_", "lora_transformer_", "lycoris_", "lora_")  # kohya's, whose names have no dots

Places = Mapping[str, Place]
"""By the name of a layer, without ``.weight``."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one network that can carry side paths: ``diffusers`` under the names that we write, ``known`` under
    those of every layout."""

    diffusers: Places
    known: Places
    flat: Places  # the same with kohya's underscores
    convolutions: frozenset[str]  # of ``diffusers``, those that are 1x1 convolutions there

    @classmethod
    def of(cls, kind: NetworkKind[Any, Any], config: Any) -> Layers:
        shapes = kind.shapes(config)
        layouts = kind.layouts(config)
        diffusers = _places(shapes, layouts["diffusers"])
        known = {**_places(shapes, layouts["upstream"]), **_places(shapes, layouts["diffusers"].whole), **diffusers}
        flat = {name.replace(".", "_"): place for name, place in known.items()}
        rows = {name: layouts["diffusers"].find_theirs(f"{name}.weight") for name in diffusers}
        pointwise = (name for name, row in rows.items() if row is not None and isinstance(row[0], Pointwise))
        convolved = (name for name, own in diffusers.items() if len(shapes[f"{own.layer}.weight"]) == 4)
        return cls(diffusers, known, flat, frozenset({*pointwise, *convolved}))

    def find(self, name: str) -> Place | None:
        """The place that a file's name of a layer means, whatever it was wrapped in; None for no layer of ours."""
        for known in _unwrapped(name):
            if known in self.known:
                return self.known[known]
        return next((self.flat[known] for known in _unwrapped_flat(name) if known in self.flat), None)

    def is_of_deeper(self, name: str) -> bool:
        """Whether a name means a layer of a block that the network has not."""
        first = re.sub(r"(blocks[._])\d+([._])", r"\g<1>0\2", name, count=1)
        return self.find(name) is None and self.find(first) is not None


def _places(shapes: Mapping[str, tuple[int, ...]], layout: KeyMap) -> dict[str, Place]:
    """Of matrices and 1x1 convolutions; rows that a layout keeps apart are places of their own."""
    places = {}
    for ours, shape in shapes.items():
        layer, _, leaf = ours.rpartition(".")
        if leaf != "weight" or len(shape) < 2 or any(side != 1 for side in shape[2:]):
            continue
        _, names = layout.find_ours(ours)
        size = shape[0] // len(names)
        for number, name in enumerate(names):
            place = Place(layer=layer, start=number * size, out_features=size, in_features=shape[1])
            places[name.removesuffix(".weight")] = place
    return places


def _unwrapped(name: str) -> list[str]:
    names = [name]
    while (first := name.partition("."))[1] and first[0] in _PREFIXES:
        names.append(name := first[2])
    return names


def _unwrapped_flat(name: str) -> list[str]:
    return [name.removeprefix(prefix) for prefix in _FLAT_PREFIXES if name.startswith(prefix)]
