"""Nodes that begin with pictures."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sanakit.integrations.comfyui.nodes import PICTURES, Fields, Inputs, Node, number, switch, whole, wire
from sanakit.integrations.comfyui.tensors import as_arrays, as_masks
from sanakit.pipelines.editing.edit import MAX_ADDED, MAX_FACTOR, MAX_RESAMPLED, RESAMPLED, Edit, Expand, Mask

_SIDES = tuple(Expand.model_fields)
_IMAGE = wire("IMAGE", "One picture, or several that are each changed by themselves.")


class ImageToImage(Node):
    """Begin with a picture and make a whole one anew."""

    RETURN_TYPES = (PICTURES,)
    RETURN_NAMES = ("pictures",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        strength = "Share of the steps that change it, up to 1; 0 is what suits: 0.6, and 0.3 where it is made larger."
        factor = "How many times larger it is made, tile by tile, by the model itself."
        return {
            "required": {
                "image": _IMAGE,
                "strength": number(strength, 0, 1),
                "factor": whole(factor, 1, MAX_FACTOR, default=1),
            }
        }

    def run(self, image: Tensor, strength: float, factor: int = 1) -> tuple[list[Fields]]:
        """Fields of requests, one for each picture."""
        edit = {"edit": Edit(factor=factor)} if factor > 1 else {}
        return ([{"image": each, **_strength(strength), **edit} for each in as_arrays(image)],)


class Inpaint(Node):
    """Make a part of a picture anew, or what is around it; every other pixel stays as it is."""

    RETURN_TYPES = (PICTURES,)
    RETURN_NAMES = ("pictures",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        taken_back = "How often a step is taken back so that what is made fits what is kept; 0 is quickest."
        return {
            "required": {
                "image": _IMAGE,
                "strength": number("Share of the steps that change what the mask covers; 0 is all.", 0, 1),
                **{side: whole(f"Pixels that are added: {side}.", 0, MAX_ADDED) for side in _SIDES},
            },
            "optional": {
                "mask": wire("MASK", "What is made anew."),
                "resample": whole(taken_back, 0, MAX_RESAMPLED, default=RESAMPLED),
                "keep_pixels": switch("Outside of the mask every pixel is the picture's own.", default=True),
            },
        }

    def run(self, image: Tensor, strength: float, mask: Tensor | None = None, **given: Any) -> tuple[list[Fields]]:
        """Raises RequestError where nothing would change."""
        images = as_arrays(image)
        sides = {side: given.pop(side) for side in _SIDES}
        rest: dict[str, Any] = {
            "expand": sides if any(sides.values()) else None,
            "blend": given.pop("keep_pixels", True),
        }
        masks = (
            [None] * len(images) if mask is None else [Mask.of(each, "white") for each in as_masks(mask, len(images))]
        )
        pairs = zip(images, masks, strict=True)
        edits = [(each, Edit(mask=own, **rest, **given)) for each, own in pairs]
        return ([{"image": each, "edit": edit, **_strength(strength)} for each, edit in edits],)


def _strength(strength: float) -> dict[str, float]:
    return {"strength": strength} if strength else {}
