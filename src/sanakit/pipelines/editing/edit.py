"""What is done to a picture: which part of it is made anew, what is added around it, how much larger it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sanakit.common.errors import RequestError
from sanakit.data.pictures import upright_alpha, upright_rgb
from sanakit.pipelines.sources.picture import PictureFacts, RequestPart, read_given

Means = Literal["white", "black", "transparent"]
"""What is to be changed; half of it changes half."""

MAX_ADDED = 8192  # pixels at one side
MAX_FACTOR = 8
RESAMPLED, MAX_RESAMPLED = 4, 32
_NOISE = 16  # of 255 levels at both ends that a mask does not mean: JPEG's black is not quite black


class Mask(PictureFacts):
    """Where a picture is to change: gray of 8 bits, 255 where it is to change wholly and 0 where it is kept."""

    _called: ClassVar[str] = "the mask"
    _given_as: ClassVar[str] = "edit=Edit(mask=...)"
    _hashed: ClassVar[str] = "gray"

    means: Means = "white"

    @staticmethod
    def of(given: object, means: Means | None = None) -> Mask:
        """Of what `SourcePicture.of` takes.

        Args:
            means: what is to be changed; None is what is transparent, where there is such, else what is white.

        Raises:
            PictureError: it cannot be read.
            RequestError: it is no picture, or marks nothing.
        """
        if isinstance(given, Mask):
            return given
        if means not in (None, *get_args(Means)):
            raise RequestError(f"a mask cannot mean {means!r}; it is {', '.join(get_args(Means)[:-1])} or transparent.")
        (levels, meant), name = read_given(given, lambda picture: _levels(picture, means), "mask=")
        mask = Mask._holding(levels, name, means=meant)
        if levels.getextrema()[1] == 0:
            told = "" if means else "; --mask-means (means=) says that something else is"
            raise RequestError(f"{mask} has nothing {meant}, so nothing would change{told}.")
        return mask

    @property
    def share(self) -> float:
        """Of its pixels, that change more or less."""
        return float((np.asarray(self.image) > 0).mean())

    @property
    def _facts(self) -> tuple[Any, ...]:
        return self.width, self.height, self.sha256, self.means


def _levels(picture: Image.Image, means: Means | None) -> tuple[Image.Image, Means]:
    alpha = upright_alpha(picture)
    seen = np.full((1, 1), 255) if alpha is None else np.asarray(alpha, dtype=np.int64)
    if means is None:
        means = "transparent" if seen.min() < 255 - _NOISE else "white"
    over_white = np.asarray(upright_rgb(picture).convert("L"), dtype=np.int64)
    match means:
        case "white":
            wanted = over_white - (255 - seen)  # over black
        case "black":
            wanted = 255 - over_white
        case "transparent":
            wanted = 255 - seen + 0 * over_white
    wanted = (wanted - _NOISE) * 255 // (255 - 2 * _NOISE)
    return Image.fromarray(wanted.clip(0, 255).astype(np.uint8)), means


class Expand(BaseModel):
    """Pixels that are added at each side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    left: int = Field(0, ge=0, le=MAX_ADDED)
    top: int = Field(0, ge=0, le=MAX_ADDED)
    right: int = Field(0, ge=0, le=MAX_ADDED)
    bottom: int = Field(0, ge=0, le=MAX_ADDED)

    @staticmethod
    def of(given: object) -> Expand:
        """Of ``left=64,top=32``, of a mapping, or of one number for all sides.

        Raises:
            RequestError: it is something else, or nothing is added.
        """
        if isinstance(given, Expand):
            return given
        sides = tuple(Expand.model_fields)
        try:
            found = Expand.model_validate(_sides(given, sides))
        except (ValueError, TypeError):  # pydantic's is one of the first kind
            found = Expand()
        if not any(found.model_dump().values()):
            raise RequestError(
                f"expand={given!r} is not usable; it must be numbers of pixels from 1 to {MAX_ADDED} for some of "
                f"{', '.join(sides)}, such as left=64,top=32."
            )
        return found


def _sides(given: Any, sides: tuple[str, ...]) -> Any:
    if isinstance(given, str) and "=" in given:
        pairs = [part.split("=") for part in given.split(",")]
        return {name.strip(): int(value) for name, value in pairs}
    return given if isinstance(given, Mapping) else dict.fromkeys(sides, int(given))


def _as_mask(given: Any) -> Any:
    return given if given is None or isinstance(given, Mapping) else Mask.of(given)


def _as_expand(given: Any) -> Any:
    return given if given is None else Expand.of(given)


class Edit(RequestPart):
    """What is done to the picture of a request.

    Attributes:
        mask: where it is made anew; it is stretched to the picture where it has another size.
        expand: pixels that are added around it, and made.
        factor: how many times larger it is made, tile by tile.
        resample: how often a step is taken back so that what is made fits what is kept (`sanakit.sampling.resampling`);
            0 is quickest.
        blend: every pixel outside of mask and added sides is the picture's own; else the model's copy of it.
    """

    _part = "edit"

    mask: Annotated[Mask | None, BeforeValidator(_as_mask)] = Field(None, exclude_if=lambda mask: mask is None)
    expand: Annotated[Expand | None, BeforeValidator(_as_expand)] = Field(None, exclude_if=lambda sides: sides is None)
    factor: int = Field(1, ge=1, le=MAX_FACTOR, exclude_if=lambda factor: factor == 1)
    resample: int = Field(RESAMPLED, ge=0, le=MAX_RESAMPLED)
    blend: bool = Field(True, exclude_if=lambda blend: blend)

    def __init__(self, **fields: Any) -> None:
        """Raises RequestError for what is no edit."""
        super().__init__(**fields)
        if self.factor > 1 and (self.mask or self.expand):
            raise RequestError("a picture is made larger as a whole; leave out mask and expand, or factor.")
        if self.factor == 1 and not self.changes_parts:
            raise RequestError("an edit needs a mask, sides to expand or a factor above 1.")

    @property
    def changes_parts(self) -> bool:
        """The rest is kept."""
        return self.mask is not None or self.expand is not None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture after it."""
        added = self.expand or Expand()
        return self.factor * (height + added.top + added.bottom), self.factor * (width + added.left + added.right)


def as_edit(given: Any) -> Any:
    """What a request takes for an edit: one, or its fields."""
    if given is None or isinstance(given, Edit):
        return given
    if not isinstance(given, Mapping):
        raise RequestError("edit= takes an Edit, such as Edit(mask='mask.png') or Edit(expand='left=64').")
    return Edit(**given)
