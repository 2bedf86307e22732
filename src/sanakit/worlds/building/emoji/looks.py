"""The looks of the emoji things: flat drawings, 3-D stills and frames of their clips, with masks for tinting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.worlds.banks.things import Look, View
from sanakit.worlds.building.cutting import as_gray_webp, as_webp, cut
from sanakit.worlds.building.emoji.drawings import Drawing
from sanakit.worlds.building.packages import Package
from sanakit.worlds.building.tinting import mask_but, tint_of


@dataclass(slots=True)
class Views:
    """Encoded pictures by their names in the bank, as they are made."""

    members: dict[str, bytes] = field(default_factory=dict)

    def add(self, look: str, number: int, image: Image.Image, mask: NDArray[np.float32] | None) -> View:
        """A picture already cut, seen from the front; ``mask`` ``(h, w)`` says what of it may be tinted."""
        view = View(0.0, 0.0, number, image.size, f"{look}/{number:02d}.webp")
        self.members[view.member] = as_webp(image)
        if mask is not None:
            self.members[view.companion("tint")] = as_gray_webp(mask)
        return view


def flat_look(key: str, image: Image.Image, drawing: Drawing | None, package: Package, views: Views) -> Look | None:
    """A drawing; one given by hand knows its colours, of the others they are measured."""
    small = cut(image)
    if small is None:
        return None
    if drawing is None:
        return pictured_look(f"flat-{key}", "flat", [small], package, views)
    view = views.add(f"flat-{key}", 0, small, mask_but(small, drawing.kept))
    look = _look(f"flat-{key}", "flat", (view,), package)
    return replace(look, tintable=True, natural=drawing.natural)


def pictured_look(
    key: str, style: Literal["3d", "flat"], images: Sequence[Image.Image], package: Package, views: Views
) -> Look | None:
    """A look of one or more frames, cut here; the first decides whether it can be tinted and what its colour is."""
    small = [image for image in map(cut, images) if image is not None]
    if not small:
        return None
    tints = [tint_of(image) for image in small]
    tintable = tints[0].mask is not None
    made = (
        views.add(key, number, image, tint.mask if tintable else None)
        for number, (image, tint) in enumerate(zip(small, tints, strict=True))
    )
    return replace(_look(key, style, tuple(made), package), tintable=tintable, natural=tints[0].natural)


def _look(key: str, style: Literal["3d", "flat"], views: tuple[View, ...], package: Package) -> Look:
    return Look(id=key, style=style, views=views, licence=package.licence, author=package.author, source=package.title)
