"""Options that say what is done to a picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.pipelines.editing.edit import Edit, Means


class MaskMeans(StrEnum):
    """What of a mask is to change."""

    white = "white"
    black = "black"
    transparent = "transparent"


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Which part of ``--image`` changes, and what is done to every picture alike."""

    mask: Annotated[
        Path | None, typer.Option(help="Where --image is made anew; --image itself, for where it is transparent.")
    ] = None
    mask_means: Annotated[
        MaskMeans | None, typer.Option(help="What of the mask changes; transparent if it has such parts, else white.")
    ] = None
    expand: Annotated[
        str | None, typer.Option(metavar="left=64,top=32", help="Pixels to add at each side of --image, and to make.")
    ] = None
    blend: Annotated[
        bool, typer.Option("--blend/--no-blend", help="Keep every pixel outside of the mask as it is in --image.")
    ] = True

    resample: Annotated[
        int | None, typer.Option(help="Times that a step is taken back to fit the rest; 4 if not given, 0 is quick.")
    ] = None
    seamless: Annotated[
        bool, typer.Option("--seamless", help="Opposite edges of the picture meet, so that it tiles.")
    ] = False
    style: Annotated[
        str | None, typer.Option(metavar="NAME", help="Words of a style around every prompt, such as watercolor.")
    ] = None
    styles: Annotated[Path | None, typer.Option(metavar="FILE", help="YAML of more styles.")] = None

    def worded(self, prompt: str, negative: str) -> tuple[str, str]:
        """Both prompts in the style that was named; raises RequestError where there is none such."""
        if self.style is None:
            if self.styles is not None:
                raise RequestError(f"--styles {self.styles} has styles, and --style says which; give both.")
            return prompt, negative
        from sanakit.pipelines.reading.styles import style_named

        return style_named(self.style, self.styles).applied(prompt, negative)

    def edit(self) -> Edit | None:
        """None where nothing is said.

        Raises:
            RequestError: the options do not fit together, or the mask marks nothing.
            PictureError: the mask cannot be read.
        """
        if self.mask is None and self.expand is None:
            if self.mask_means is not None or self.resample is not None or not self.blend:
                told = "--mask-means, --resample and --no-blend belong to an edit"
                raise RequestError(f"{told}; give --mask or --expand, too.")
            return None
        from sanakit.pipelines.editing.edit import Edit, Mask

        means = cast("Means | None", self.mask_means and self.mask_means.value)
        mask = None if self.mask is None else Mask.of(self.mask, means)
        resample = {} if self.resample is None else {"resample": self.resample}
        return Edit(mask=mask, expand=self.expand, blend=self.blend, **resample)
