"""A picture that others are made from: its pixels as a model is shown them, and what records tell of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.paths import as_path
from sanakit.data.fitting import covering_size, fit_to_bin
from sanakit.data.pictures import decode_picture, upright_rgb


def _last_name(name: str) -> str:
    if name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise ValueError("no name of a file alone")
    return name


class SourcePicture(BaseModel):
    """Upright sRGB of 8 bits, transparency over white; in a record its facts alone.

    ``sha256`` is that of its RGB bytes row by row, ``name`` the last name of its file, "" where it was none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    name: Annotated[str, AfterValidator(_last_name)] = ""
    _image: Image.Image | None = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourcePicture) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)

    @property
    def _facts(self) -> tuple[int, int, str]:
        return self.width, self.height, self.sha256

    @staticmethod
    def of(given: object) -> SourcePicture:
        """Of a file's name, Pillow's picture, or an array ``(H, W[, 3 or 4])`` of bytes or of numbers in [0, 1].

        Raises:
            PictureError: it cannot be read.
            RequestError: it is something else.
        """
        match given:
            case SourcePicture():
                return given
            case str() | Path():
                return _of_file(as_path(given))
            case Image.Image():
                return _of_image(upright_rgb(given))
            case np.ndarray():
                return _of_image(upright_rgb(_from_array(given)))
        raise RequestError(
            f"image={type(given).__name__} is not usable; give the name of a file, Pillow's picture or an array."
        )

    def fitted(self, height: int, width: int) -> NDArray[np.uint8]:
        """``(height, width, 3)``: resized until it covers that, then cut at the centre.

        Raises:
            RequestError: only its facts are here.
        """
        if self._image is None:
            raise RequestError(f"{self} is not here; give it as image=.")
        from sanakit.pipelines.resolution import MAX_PICTURE_PIXELS  # and torch, which a bad request need not wait for

        covering = covering_size((self.width, self.height), height, width)
        if math.prod(covering) > MAX_PICTURE_PIXELS:
            raise RequestError(f"{self} is too long for a picture of {width}x{height} px; cut it before.")
        return fit_to_bin(self._image, height, width)

    def __str__(self) -> str:
        return f"{self.name or 'the picture'} ({self.width}x{self.height} px, RGB SHA-256 {self.sha256[:10]})"


def as_source(given: Any) -> Any:
    """What a request takes for a picture, or the facts of one."""
    return given if given is None or isinstance(given, Mapping) else SourcePicture.of(given)


def _of_file(path: Path) -> SourcePicture:
    if not path.is_file():  # a pipe would wait for its writer
        raise PictureError(f"{path} does not exist or is no file; give a picture")
    try:
        return _of_image(decode_picture(path.read_bytes()), _name_of(path))
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read ({error.strerror})") from error


def _name_of(path: Path) -> str:
    """Its last name, "" for one that a record cannot hold."""
    try:
        path.name.encode()
        return _last_name(path.name)
    except ValueError:
        return ""


def _of_image(image: Image.Image, name: str = "") -> SourcePicture:
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    source = SourcePicture(width=image.width, height=image.height, sha256=digest, name=name)
    source._image = image
    return source


def _from_array(array: NDArray[Any]) -> Image.Image:
    if np.issubdtype(array.dtype, np.floating) and array.size and array.min() >= 0 and array.max() <= 1:
        array = (array * 255).round().astype(np.uint8)
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not is_picture or not array.size:
        raise RequestError(
            f"image={array.dtype} of shape {array.shape} is not usable; give (H, W), (H, W, 3) or (H, W, 4), of bytes "
            f"or of numbers in [0, 1]."
        )
    return Image.fromarray(array)
