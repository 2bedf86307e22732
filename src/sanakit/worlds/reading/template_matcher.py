"""How well each object, in each colour, explains a part of a picture.

A template is a sprite shrunk to a small grid. Laid over the background it predicts the part; what it is worth is
the squared error that it takes away from "there is only background". That gain splits into products of the
picture with the templates, so that all templates are tried on all boxes by two matrix products.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.worlds.reading.components import PixelBox
from sanakit.worlds.scenes.sprites import SpriteBank
from sanakit.worlds.scenes.tint import tint_sprite
from sanakit.worlds.scenes.vocabulary import COLOURS, ITEMS

Floats = NDArray[np.float32]

_GRID = 16
_TINTING_SIZE = 48  # pixels: sprites are tinted when already small, which is many times faster
_ASPECT_TOLERANCE = 0.15  # of the logarithm of width / height; beyond it the gain fades
_ASPECT_SCALE = 0.30


class Template(NamedTuple):
    name: str
    colour: str | None  # None: the natural look


class TemplateMatcher:
    """All sprites of a bank, natural and in every colour, on a grid of 16 x 16 cells."""

    def __init__(self, bank: SpriteBank) -> None:
        self.templates = tuple(Template(name, colour) for name in ITEMS for colour in (None, *COLOURS))
        rgba = np.concatenate([_looks(bank, name) for name in ITEMS])  # (K, G, G, 4)
        alpha: Floats = (rgba[..., 3:] / 255.0).astype(np.float32)
        paint: Floats = rgba[..., :3] * alpha
        num = len(self.templates)
        self._alpha: Floats = alpha
        self._paint: Floats = paint
        self._linear = np.concatenate([paint.reshape(num, -1), -alpha.reshape(num, -1)], axis=1)
        self._energy = (paint**2).sum((1, 2, 3))  # (K,)
        self._cross = -2.0 * (paint * alpha).sum(2).reshape(num, -1)  # (K, G * 3), columns summed
        self._square = (alpha[..., 0] ** 2).sum(2)  # (K, G)
        self._log_aspect = np.log([ITEMS[template.name].aspect for template in self.templates])

    def gains(
        self, image: Image.Image, rows: Floats, boxes: list[PixelBox], chosen: NDArray[np.intp] | slice = slice(None)
    ) -> Floats:
        """``(chosen, boxes)``: squared error in RGB, summed over the box's pixels, that each template explains.

        ``chosen`` are the templates to try, by default all. ``rows`` is the background, ``(H, 3)``. With r the picture
        less the background, a the template's alpha, t its premultiplied colours and b the background:
        r^2 - (r - (t - a b))^2 = 2 r (t - a b) - (t - a b)^2.
        """
        behind = np.stack([_cell_rows(rows, box) for box in boxes])  # (B, G, 3)
        residual = np.stack([_cells(image, box) for box in boxes]) - behind[:, :, None]  # (B, G, G, 3)
        on_alpha = (residual * behind[:, :, None]).sum(-1)  # (B, G, G)
        num = len(boxes)
        picture = np.concatenate([residual.reshape(num, -1), on_alpha.reshape(num, -1)], axis=1)
        energy = (
            self._energy[chosen, None]
            + self._cross[chosen] @ behind.reshape(num, -1).T
            + self._square[chosen] @ (behind**2).sum(-1).T
        )  # (chosen, B)
        gains = 2.0 * self._linear[chosen] @ picture.T - energy
        cell_area = np.array([box.area for box in boxes]) / _GRID**2
        log_aspects = np.log([box.width / box.height for box in boxes])
        penalty = _aspect_penalty(self._log_aspect[chosen, None] - log_aspects)
        return (np.where(gains > 0, gains * penalty, gains) * cell_area).astype(np.float32)

    def errors(self, image: Image.Image, rows: Floats, box: PixelBox, chosen: NDArray[np.intp], cap: float) -> Floats:
        """``(chosen,)``: mean distance of the box's cells from each template, 0..441 in RGB, none above ``cap``.

        Each template is tried as it is and softened, so that a blurred square is not taken for something round.
        """
        cells, behind = _cells(image, box), _cell_rows(rows, box)[:, None]  # (G, G, 3), (G, 1, 3)
        alpha: Floats = self._alpha[chosen]
        paint: Floats = self._paint[chosen]
        looks = ((alpha, paint), (_softened(alpha), _softened(paint)))
        distances = [np.sqrt(((t + (1.0 - a) * behind - cells) ** 2).sum(-1)) for a, t in looks]
        return np.min([np.minimum(distance, cap).mean((1, 2)) for distance in distances], axis=0)


def _softened(values: Floats) -> Floats:
    """Blurred by a quarter of each neighbour, down and across; around ``(K, G, G, C)`` there is nothing."""
    for axis in (1, 2):
        size = values.shape[axis]
        padded = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)])
        before, after = padded.take(range(size), axis), padded.take(range(2, size + 2), axis)
        values = 0.5 * values + 0.25 * (before + after)
    return values


def _aspect_penalty(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    """In (0, 1], for a difference of the logarithms of width / height."""
    off = np.maximum(np.abs(difference) - _ASPECT_TOLERANCE, 0.0)
    return np.exp(-((off / _ASPECT_SCALE) ** 2))


def _looks(bank: SpriteBank, name: str) -> Floats:
    """``(1 + colours, G, G, 4)``: the natural look and every tint, in the order of the templates."""
    # Pillow premultiplies RGBA while shrinking, so that invisible pixels do not tint the edge.
    natural = bank.image(name).resize((_TINTING_SIZE, _TINTING_SIZE), Image.Resampling.BOX)
    kept = ITEMS[name].kept_colours
    tinted = [tint_sprite(np.asarray(natural), colour, kept_colours=kept) for colour in COLOURS]
    looks = [natural, *(Image.fromarray(pixels) for pixels in tinted)]
    return np.stack([np.asarray(look.resize((_GRID, _GRID), Image.Resampling.BOX), np.float32) for look in looks])


def _cells(image: Image.Image, box: PixelBox) -> Floats:
    return np.asarray(image.resize((_GRID, _GRID), Image.Resampling.BOX, box=box), dtype=np.float32)


def _cell_rows(rows: Floats, box: PixelBox) -> Floats:
    """The background's rows behind the box, one for each row of cells: ``(G, 3)``."""
    edges = np.linspace(box.top, box.bottom, _GRID + 1)
    places = np.minimum(((edges[:-1] + edges[1:]) / 2).astype(int), len(rows) - 1)
    return rows[places]
