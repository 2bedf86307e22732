"""Pictures that others are made from: their pixels as a model is shown them, and what records tell of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from sanakit.common.errors import PictureError, RequestError, SanakitError
from sanakit.common.paths import as_path
from sanakit.data.fitting import covering_size, fit_to_bin
from sanakit.data.pictures import open_picture, upright_rgb

T = TypeVar("T")


def last_name(name: str) -> str:
    """The name of a file alone, as records hold it; ValueError for one that leads elsewhere."""
    if name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise ValueError("no name of a file alone")
    return name


class RequestPart(BaseModel):
    """A part of a request; what pydantic finds wrong with it is told as a RequestError, under its name there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    _part: ClassVar[str]

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            if isinstance(own := problem.get("ctx", {}).get("error"), SanakitError):
                raise own from None
            name = ".".join(map(str, problem["loc"]))
            raise RequestError(f"{self._part}.{name} is not usable: {problem['msg']}.") from None


class SourceFacts(BaseModel):
    """What a record holds of something that was given; its pixels are there only where it was given.

    ``name`` is the last name of its file, "" where it was none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    _called: ClassVar[str]
    _hashed: ClassVar[str]

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    name: Annotated[str, AfterValidator(last_name)] = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)

    @property
    def _facts(self) -> tuple[Any, ...]:
        return self.width, self.height, self.sha256

    def __str__(self) -> str:
        return f"{self.name or self._called} ({self.width}x{self.height} px, {self._hashed} SHA-256 {self.sha256[:10]})"


class PictureFacts(SourceFacts):
    """Of a picture; ``sha256`` is that of its bytes row by row."""

    _called: ClassVar[str] = "the picture"
    _given_as: ClassVar[str] = "image="
    _hashed: ClassVar[str] = "RGB"
    _image: Image.Image | None = PrivateAttr(None)

    @property
    def image(self) -> Image.Image:
        """Raises RequestError where only its facts are here."""
        if self._image is None:
            raise RequestError(f"{self} is not here; give it as {self._given_as}.")
        return self._image

    @classmethod
    def _holding(cls, image: Image.Image, name: str, **facts: Any) -> Self:
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        made = cls(width=image.width, height=image.height, sha256=digest, name=name, **facts)
        made._image = image
        return made


class SourcePicture(PictureFacts):
    """Upright sRGB of 8 bits, transparency over white."""

    @staticmethod
    def of(given: object) -> SourcePicture:
        """Of a file's name, Pillow's picture, or an array ``(H, W[, 3 or 4])`` of bytes or of numbers in [0, 1].

        Raises:
            PictureError: it cannot be read.
            RequestError: it is something else.
        """
        if isinstance(given, SourcePicture):
            return given
        image, name = read_given(given, upright_rgb, "image=")
        return SourcePicture._holding(image, name)

    def fitted(self, height: int, width: int) -> NDArray[np.uint8]:
        """``(height, width, 3)``: resized until it covers that, then cut at the centre.

        Raises:
            RequestError: only its facts are here.
        """
        image = self.image
        check_shape(self, height, width)
        return fit_to_bin(image, height, width)


def check_shape(source: SourceFacts, height: int, width: int) -> None:
    """Raises RequestError for one so long that it would be huge where it covers that size."""
    from sanakit.pipelines.resolution import MAX_PICTURE_PIXELS  # and torch, which a bad request need not wait for

    if math.prod(covering_size((source.width, source.height), height, width)) > MAX_PICTURE_PIXELS:
        raise RequestError(f"{source} is too long for a picture of {width}x{height} px; cut it before.")


def as_source(given: Any) -> Any:
    """What a request takes for a picture, or the facts of one."""
    return given if given is None or isinstance(given, Mapping) else SourcePicture.of(given)


def read_given(given: object, read: Callable[[Image.Image], T], argument: str) -> tuple[T, str]:
    """What ``read`` makes of Pillow's picture of what was given, and its last name, "" where it is no file.

    Raises:
        PictureError: it cannot be read.
        RequestError: it is no picture.
    """
    match given:
        case str() | Path():
            path = as_path(given)
            return _of_file(path, read), name_of(path)
        case Image.Image():
            return read(given), ""
        case np.ndarray():
            return read(_from_array(given, argument)), ""
    raise RequestError(
        f"{argument}{type(given).__name__} is not usable; give the name of a file, Pillow's picture or an array."
    )


def _of_file(path: Path, read: Callable[[Image.Image], T]) -> T:
    if not path.is_file():  # a pipe would wait for its writer
        raise PictureError(f"{path} does not exist or is no file; give a picture")
    try:
        return read(open_picture(path.read_bytes()))
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read ({error.strerror})") from error


def name_of(path: Path) -> str:
    """Its last name, "" for one that a record cannot hold."""
    try:
        path.name.encode()
        return last_name(path.name)
    except ValueError:
        return ""


def _from_array(array: NDArray[Any], argument: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if np.issubdtype(array.dtype, np.floating) and array.size and array.min() >= 0 and array.max() <= 1:
        array = (array * 255).round().astype(np.uint8)
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or not array.size:
        raise RequestError(
            f"{argument}{array.dtype} of shape {array.shape} is not usable; give (H, W), (H, W, 3) or (H, W, 4), of "
            f"bytes or of numbers in [0, 1]."
        )
    return Image.fromarray(array)
