"""Picture files of any origin: read upright, with what they carry, and written larger."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from sanakit.common.colours.named import add_named_profile
from sanakit.common.errors import PictureError, RequestError, SanakitError
from sanakit.common.free_memory import free_memory
from sanakit.common.paths import pictures_below
from sanakit.common.progress import OnProgress, no_progress
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.pipelines.decoding.memory import upscaling_bytes
from sanakit.pipelines.exif import MAX_EXIF_BYTES, exif_bytes
from sanakit.pipelines.picture_file import A1111_CHUNK, OUR_CHUNK, Carried, open_single_picture, read_record
from sanakit.pipelines.record import PictureRecord, describe_image
from sanakit.pipelines.resolution import check_upscaled_size
from sanakit.pipelines.upscaling.images import in_levels, upscale_image
from sanakit.pipelines.upscaling.records import upscaled_record
from sanakit.pipelines.upscaling.upscaler import Upscaler

_STALE_TAGS = (ExifTags.Base.Orientation, ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LargerPicture:
    """A picture, upright, in a mode that ``upscale_image`` gives, and what its file carries.

    ``record`` is that of a picture of ours whose pixels are still those that it describes, else None.
    """

    image: Image.Image
    carried: Carried
    record: PictureRecord | None


def pictures_of(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, and of folders the pictures below them, by name; a folder without any stays itself.

    Raises:
        RequestError: there are only folders without pictures.
    """
    found = [each for path in paths for each in _pictures_in(path)]
    if found and all(path.is_dir() for path in found):
        raise no_picture_in(found)
    return found


def no_picture_in(folders: Sequence[Path]) -> RequestError:
    """What there is to say of folders without pictures."""
    many = len(folders) > 1
    named = f"folder{'s' * many} {', '.join(map(str, folders))} hold{'s' * (not many)}"
    return RequestError(f"the {named} no picture; give files, or folders that have some")


def _pictures_in(path: Path) -> list[Path]:
    return (pictures_below(path) if path.is_dir() else []) or [path]


def read_for_upscaling(path: Path, scale: int) -> LargerPicture:
    """The picture in a file, as it is, checked to be one that can be enlarged ``scale`` times.

    Raises:
        PictureError: it cannot be read, is an animation, or its pixels are no levels.
        RequestError: it is too large.
    """
    picture = open_single_picture(path, check=lambda size: _check_size(path, size, scale))
    record = _record_that_fits(path, picture)
    try:
        add_named_profile(picture, path.read_bytes())  # the larger file has it as a profile
        image = in_levels(ImageOps.exif_transpose(picture))
    except PictureError as error:
        raise PictureError(f"{path} cannot be enlarged: {error}") from error
    carried = _carried(picture, texts_of_ours=() if record is None else (A1111_CHUNK,))
    if picture.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        carried = replace(carried, profile=None)  # it speaks of the colours that were converted
    return LargerPicture(image=image, carried=carried, record=record)


def upscale_picture(
    upscaler: Upscaler, picture: LargerPicture, *, on_progress: OnProgress = no_progress
) -> LargerPicture:
    """The same larger, with the record that makes it again, or else a text that says what was done."""
    threads = picture.record.threads if picture.record is not None and picture.record.device == "cpu" else None
    with own_arithmetic(threads):  # those that a replay will take for both
        image = upscale_image(upscaler, picture.image, on_progress=on_progress)
    if picture.record is not None:
        record = upscaled_record(picture.record, upscaler).model_copy(update={"image": describe_image(image)})
        return LargerPicture(image=image, carried=picture.carried, record=record)
    before = describe_image(picture.image)
    done = (
        f"sanakit: enlarged {upscaler.scale} times from {before.width}x{before.height} px "
        f"(RGB SHA-256 {before.sha256[:16]}) by {upscaler.name} ({upscaler.hash[:16]})"
    )
    return LargerPicture(image=image, carried=_with_software(picture.carried, done), record=None)


def _check_size(path: Path, size: tuple[int, int], scale: int) -> None:
    """Before the pixels are read."""
    width, height = size
    try:
        check_upscaled_size(height, width, scale)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    need, free = upscaling_bytes(height, width, scale), free_memory()
    if free is not None and need > free:
        raise RequestError(
            f"{path} with its {width}x{height} px needs {need / 1e9:.1f} GB of memory to be enlarged {scale} times, "
            f"and {free / 1e9:.1f} GB are free"
        )


def _record_that_fits(path: Path, picture: Image.Image) -> PictureRecord | None:
    """Only one that says how to make exactly these pixels, at their first size."""
    with suppress(SanakitError):
        record = read_record(path)
        if record.image == describe_image(picture) and record.request.upscale == 1 and picture.mode == "RGB":
            return record
    return None


def _carried(picture: Image.Image, texts_of_ours: tuple[str, ...]) -> Carried:
    left_out = {OUR_CHUNK, *texts_of_ours}
    texts = {name: text for name, text in getattr(picture, "text", {}).items() if name not in left_out}
    return Carried(profile=picture.info.get("icc_profile"), exif=_exif_bytes(picture.getexif()), texts=texts)


def _exif_bytes(exif: Image.Exif, software: str | None = None) -> bytes:
    """EXIF that is true of the larger picture, or none where it is damaged or does not fit."""
    try:
        if str(exif.get(ExifTags.Base.ImageDescription, "")).startswith("{"):
            del exif[ExifTags.Base.ImageDescription]  # a record of ours, which would no longer be true
        for tag in _STALE_TAGS:
            exif.pop(tag, None)
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        for inner_tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight):
            inner.pop(inner_tag, None)
        if software is not None:
            exif[ExifTags.Base.Software] = software
        content = exif_bytes(exif) if len(exif) else b""
    except Exception as error:  # Pillow writes what it reads, and a damaged value fails in many ways
        logger.info("the EXIF of a picture is left out: %s", error)
        return b""
    return content if len(content) <= MAX_EXIF_BYTES else b""


def _with_software(carried: Carried, done: str) -> Carried:
    exif = Image.Exif()
    exif.load(carried.exif)
    texts = {name: text for name, text in carried.texts.items() if name != "Software"} | {"Software": done}
    return replace(carried, texts=texts, exif=_exif_bytes(exif, done))
