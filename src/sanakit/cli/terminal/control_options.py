"""Options that say which pictures control another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.pipelines.controlling.use import ControlUse


@dataclass(frozen=True, kw_only=True)
class ControlOptions:
    """Which pictures control, how, and when; what is given once is of all of them, else there is one for each."""

    control: Annotated[
        list[Path] | None, typer.Option(metavar="PICTURE", help="A picture that controls, by a ControlNet; repeatable.")
    ] = None
    control_type: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE[:THICKNESS]",
            help="What of it: edges, scribble, hed, drawing, lines, depth, segmentation, tile, blur, or given.",
        ),
    ] = None
    control_model: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="The ControlNet, if not the model's own.")
    ] = None
    control_scale: Annotated[list[float] | None, typer.Option(help="How much it counts; 1 if not given, 0 is off.")] = (
        None
    )
    control_start: Annotated[list[float] | None, typer.Option(help="Share of the steps from which it acts.")] = None
    control_end: Annotated[list[float] | None, typer.Option(help="Share of the steps until which it acts.")] = None

    def controls(self) -> tuple[ControlUse, ...]:
        """One for each picture.

        Raises:
            RequestError: there is no picture, or what is said does not fit their number.
        """
        others: dict[str, Sequence[Any] | None] = {
            "type": self.control_type,
            "model": self.control_model,
            "scale": self.control_scale,
            "start": self.control_start,
            "end": self.control_end,
        }
        pictures = self.control or []
        if not pictures:
            if said := next((name for name, values in others.items() if values), None):
                raise RequestError(f"--control-{said} says how a picture controls; give that as --control.")
            return ()
        from sanakit.pipelines.controlling.use import ControlModel, ControlUse
        from sanakit.pipelines.sources.picture import SourcePicture

        models = {source: ControlModel.of(source) for source in dict.fromkeys(self.control_model or ())}
        others["model"] = [models[source] for source in self.control_model or ()]
        spread = {name: _spread(name, values, len(pictures)) for name, values in others.items() if values}
        return tuple(
            ControlUse(image=SourcePicture.of(picture), **{name: values[index] for name, values in spread.items()})
            for index, picture in enumerate(pictures)
        )


def _spread(name: str, values: Sequence[Any], number: int) -> Sequence[Any]:
    if len(values) not in (1, number):
        raise RequestError(
            f"--control-{name} is given {len(values)} times for {number} pictures; give it once, or for each of them."
        )
    return values if len(values) == number else list(values) * number
