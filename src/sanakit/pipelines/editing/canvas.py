"""The picture that an edit works on: what a model is shown of it, what it may change, and how both come together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sanakit.common.pixels import spread_visible, to_signed
from sanakit.data.fitting import fit_to_bin, resize_rule
from sanakit.pipelines.editing.edit import Edit, Expand
from sanakit.pipelines.sources.picture import SourcePicture
from sanakit.sampling.evaluation import Evaluation

if TYPE_CHECKING:
    from collections.abc import Callable

_SEAM = 64  # the seam is this part of the longer side wide


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A picture under an edit, ``height`` x ``width`` pixels.

    ``anew`` says that of what is changed nothing is kept: then the model is not shown it either, but colours near by,
    since an autoencoder's cells see over their borders.
    """

    image: SourcePicture
    edit: Edit
    height: int
    width: int
    anew: bool

    @property
    def keeps(self) -> bool:
        """What was made is laid into the picture."""
        return self.edit.changes_parts and self.edit.blend

    def check_here(self) -> None:
        """Raises RequestError where only the facts of the picture or of its mask are here."""
        for given in filter(None, (self.image, self.edit.mask)):
            given.image.load()

    def pixels(self) -> NDArray[np.uint8]:
        """``(H, W, 3)``: the picture where it is kept; added sides are white.

        Raises:
            RequestError: only its facts are here.
        """
        image = self.image.image
        if self.edit.factor > 1:
            size = (self.edit.factor * image.width, self.edit.factor * image.height)
            image = image.resize(size, Image.Resampling.LANCZOS)
        return fit_to_bin(self._with_sides(image, "white"), self.height, self.width)

    def levels(self) -> NDArray[np.float32]:
        """``(H, W)``, how much of each pixel is to change, from 0 to 1.

        Raises:
            RequestError: only the facts of its mask are here.
        """
        size = (self.image.width, self.image.height)
        mask = Image.new("L", size, 0 if self.edit.changes_parts else 255)
        if self.edit.mask is not None:
            mask = self.edit.mask.image
            mask = mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)
        levels = fit_to_bin(self._with_sides(mask, "white"), self.height, self.width)
        return (levels / 255).astype(np.float32)

    def fitted(self, height: int, width: int) -> NDArray[np.uint8]:
        """``(height, width, 3)``: what the model is shown, of another size and perhaps a slightly other shape."""
        pixels = self.pixels()
        if self.edit.changes_parts:
            hidden = self.levels() > 0 if self.anew else self._added()
            pixels = spread_visible(pixels, ~hidden)
        if pixels.shape[:2] == (height, width):
            return pixels
        if self.edit.factor > 1:  # tiles keep its scale
            return np.pad(pixels, ((0, height - self.height), (0, width - self.width), (0, 0)), mode="edge")
        rule = Image.Resampling[resize_rule(height, width).upper()]
        return np.asarray(Image.fromarray(pixels).resize((width, height), rule))

    def free(self, height: int, width: int) -> Tensor:
        """``(1, 1, height, width)`` bool, the cells of a latent that may change: of which half changes or more; and of
        a thin mask, that fills no cell so far, all that it touches.

        What is painted beyond the mask is cut off, so a cell that hardly changes is better kept.
        """
        share = F.adaptive_avg_pool2d(torch.from_numpy(self.levels() > 0).float()[None, None], (height, width))
        filled = (share >= 0.5).float()
        return (filled > 0) | ((share > 0) & (F.max_pool2d(filled, 3, stride=1, padding=1) == 0))

    def blended(self, made: Tensor) -> Tensor:
        """``(3, H, W)`` in [-1, 1]: what was made where the picture changes, and the picture everywhere else.

        The seam lies inside of what changes: the picture's part falls to 0 over `_SEAM` of the longer side, or to the
        middle of a thinner mask.
        """
        own = to_signed([self.pixels()])[0].to(made.device)
        share = seam(self.levels(), max(max(self.height, self.width) // _SEAM, 1)).to(made.device)
        return torch.where(share > 0, own + share * (made - own), own)

    def _with_sides(self, image: Image.Image, colour: str) -> Image.Image:
        """With what is added around it, in one colour."""
        added = self.edit.expand
        if added is None:
            return image
        size = (image.width + added.left + added.right, image.height + added.top + added.bottom)
        larger = Image.new(image.mode, size, colour)
        larger.paste(image, (added.left, added.top))
        return larger

    def _added(self) -> NDArray[np.bool_]:
        edit = Edit.model_construct(mask=None, expand=self.edit.expand or Expand(), factor=1)
        return Canvas(image=self.image, edit=edit, height=self.height, width=self.width, anew=True).levels() > 0


def keeping(known: Tensor, free: Tensor) -> Callable[[Evaluation, Tensor], Tensor]:
    """A correction of velocities: where ``free`` is False the path leads straight to ``known``.

    Source: the straight noise path, on which ``(latent - known) / sigma`` is the velocity.
    """

    def correct(wish: Evaluation, velocity: Tensor) -> Tensor:
        return torch.where(free, velocity, (wish.latent - known) / wish.sigma)

    return correct


def seam(levels: NDArray[np.float32], width: int) -> Tensor:
    """``(H, W)`` float32: 0 where ``levels`` are, and never above them, rising to 1 over ``width`` pixels inside."""
    inside = torch.from_numpy((levels > 0).astype(np.float32))[None, None]
    depth, left = inside.clone(), inside
    for _ in range(width - 1):  # pixels to the border, as a king walks
        left = -F.max_pool2d(-left, 3, stride=1, padding=1)
        depth += left
    deepest = F.max_pool2d(depth, 2 * width + 1, stride=1, padding=width)  # of a thin part: its middle
    return torch.minimum(torch.from_numpy(levels), (depth / deepest.clamp(min=1))[0, 0])
