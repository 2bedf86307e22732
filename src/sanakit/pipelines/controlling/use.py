"""A picture that controls another, as a request names it, and what records tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from sanakit.common.errors import RequestError
from sanakit.pipelines.sources.picture import RequestPart, SourcePicture, as_source, last_name

if TYPE_CHECKING:
    from sanakit.checkpoints.networks.identify import Found
    from sanakit.models.transformers.controlnet import ControlNet, ControlNetConfig

MAX_SCALE = 10.0


class ControlModel(BaseModel):
    """A ControlNet: the last name of where it came from, and the SHA-256 of its tensors, the same in every layout."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, AfterValidator(last_name)] = ""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    _found: Any = PrivateAttr(None)
    _source: str | Path | None = PrivateAttr(None)  # from where another process finds it

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ControlModel) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __str__(self) -> str:
        return f"the ControlNet {self.name or 'without a name'} ({self.sha256[:10]})"

    def __getstate__(self) -> dict[Any, Any]:
        """For another process, which finds it once more."""
        state = super().__getstate__()
        return {**state, "__pydantic_private__": {"_found": None, "_source": self._source}}

    @property
    def is_here(self) -> bool:
        """Whether more than its facts is."""
        return self._found is not None or self._source is not None

    @property
    def found(self) -> Found[ControlNetConfig, ControlNet]:
        """Where its weights are; raises RequestError where only its facts are here."""
        if self._found is None and self._source is not None:
            self._found = _find(self._source)
        if self._found is None:
            raise RequestError(f"{self} is not here; give it as --control-model (controls=[{{'model': ...}}]).")
        found: Found[ControlNetConfig, ControlNet] = self._found
        return found

    @staticmethod
    def of(source: str | Path | ControlModel) -> ControlModel:
        """Of a folder, a file or a hub id; every byte is read once, for the hash.

        Raises:
            CheckpointError: there is no ControlNet.
        """
        if isinstance(source, ControlModel):
            return source
        name = Path(str(source)).name
        made = ControlModel.at(_find(source), name if name.isprintable() else "")
        made._source = source
        return made

    @staticmethod
    def at(found: Found[ControlNetConfig, ControlNet], name: str = "") -> ControlModel:
        """Of what was found."""
        from sanakit.checkpoints.sources.content_hashes import hash_network

        made = ControlModel(name=name, sha256=hash_network(found))
        made._found = found
        return made


def _find(source: str | Path) -> Found[ControlNetConfig, ControlNet]:
    from sanakit.checkpoints.sources.complete import find_controlnet  # and torch, which a bad request can do without

    return find_controlnet(source)


def _as_model(given: Any) -> Any:
    return given if given is None or isinstance(given, Mapping) else ControlModel.of(given)


def _known_kind(words: str | None) -> str | None:
    if words is not None:
        from sanakit.scoring.annotators.annotate import parse_kind

        parse_kind(words)
    return words


class ControlUse(RequestPart):
    """How a picture controls.

    Attributes:
        image: the picture.
        type: what the network is shown of it, by an annotator's name; None is what the network was trained on.
        model: the network; None is the model's own.
        scale: what the network finds counts so much; 0 is nothing, to the bit.
        start, end: shares of the steps between which it acts.
    """

    _part = "controls"

    image: Annotated[SourcePicture, BeforeValidator(as_source)]
    type: Annotated[str | None, AfterValidator(_known_kind)] = None
    model: Annotated[ControlModel | None, BeforeValidator(_as_model)] = None
    scale: float = Field(1.0, ge=0, le=MAX_SCALE, allow_inf_nan=False)
    start: float = Field(0.0, ge=0, lt=1, allow_inf_nan=False)
    end: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)

    def __init__(self, **fields: Any) -> None:
        """Raises RequestError for what is no use of a picture."""
        super().__init__(**fields)
        if self.start >= self.end:
            raise RequestError(
                f"a control cannot act from {self.start:g} to {self.end:g} of the steps; start below end."
            )

    def changed(self, **fields: Any) -> Self:
        """The same with other fields."""
        return self.model_copy(update=fields)

    def fitted(self, height: int, width: int) -> NDArray[np.uint8]:
        """``(height, width, 3)``: the picture fitted, and what the network is shown of that."""
        from sanakit.scoring.annotators.annotate import annotate

        return annotate(self.image.fitted(height, width), self.type or "given")


def as_controls(given: Any) -> Any:
    """What a request takes for controls: one or several, or their fields."""
    given = [given] if isinstance(given, ControlUse | Mapping) else given
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise RequestError(
            f"controls={given!r:.60} is not usable; give pictures that control in a list, such as "
            f"[{{'image': 'drawing.png', 'type': 'drawing'}}]."
        )
    return tuple(_as_control(each) for each in given)


def _as_control(given: Any) -> ControlUse:
    if isinstance(given, ControlUse):
        return given
    return ControlUse(**given) if isinstance(given, Mapping) else ControlUse(image=given)
