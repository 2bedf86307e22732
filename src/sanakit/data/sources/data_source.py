"""A data set on disk, opened; and cached features as they are stored."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.data.clips import frames_at, read_clip_to_the_end
from sanakit.data.pictures import reason_of
from sanakit.data.samples import Layout, Problem, Sample
from sanakit.data.sources.blobs import Blob, read_blob
from sanakit.data.sources.media import opened, read_picture

_MAX_FEATURE_BYTES = 2**28  # of the largest text encoders that there are, 300 tokens take 5 MB


@dataclass(frozen=True, slots=True)
class Entry:
    """A good sample and where it is."""

    sample: Sample
    blob: Blob
    text_features: Blob | None


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What a text encoder made of a caption."""

    embeds: NDArray[Any]  # (L, C)
    mask: NDArray[Any]  # (L,) bool, True for real tokens


@dataclass(frozen=True, eq=False)
class DataSource:
    """A data set on disk, opened: its good samples in a fixed order, and what is wrong with the others.

    Reading is safe from several threads and after a fork, and an open data source can be pickled for another process.
    """

    path: Path  # the folder or file that was opened
    layout: Layout  # docs/data.md describes each
    problems: tuple[Problem, ...]  # what opening found, in order; pictures are not decoded for it
    unused_columns: tuple[str, ...]  # of tables, or names in JSON: texts that are neither captions nor files nor scores
    unused_files: tuple[str, ...]  # a sentence about each kind of files that have no part in it, with their names
    caption_files: tuple[str, ...]  # names of the tables and texts that were read, many of a kind as "*.txt"
    _entries: tuple[Entry, ...]

    def __len__(self) -> int:
        """Samples that can be used."""
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        """From the index in memory; raises IndexError past the end."""
        return self._entries[index].sample

    def blob(self, index: int) -> Blob:
        """Where the stored file is."""
        return self._entries[index].blob

    def file_of(self, index: int) -> str:
        """Where the stored file is, relative to the data set; of a member of a tar ``shard.tar/member``."""
        blob = self._entries[index].blob
        root = self.path if self.path.is_dir() else self.path.parent
        place = blob.path.relative_to(root).as_posix() if blob.path.is_relative_to(root) else blob.path.as_posix()
        return place if blob.path.name == blob.name else f"{place}/{blob.name}"

    def read_bytes(self, index: int) -> bytes:
        """The picture file as stored: PNG, JPEG, ...; of cached features the ``.npy`` of the latent.

        Raises:
            PictureError: the file cannot be read any more.
        """
        return read_blob(self._entries[index].blob)

    def stamp(self, index: int) -> str | None:
        """What stays the same as long as the stored bytes do; None if that cannot be told yet."""
        return self._entries[index].blob.stamp()

    def image(self, index: int) -> Image.Image:
        """The picture upright in RGB, transparency over white; of a clip its first frame.

        Raises:
            PictureError: it cannot be decoded, or the data set holds latents.
        """
        if self.has_latents():
            raise PictureError(f"{self.path} holds latents; it has no pictures")
        return read_picture(self._entries[index].blob)

    def frames(self, index: int, *, num_frames: int, fps: float) -> NDArray[np.uint8]:
        """The beginning of a clip as ``(T, H, W, 3)``, upright, at a rate of one's own; of a picture one frame.

        Raises:
            PictureError: it cannot be decoded, or ends before.
        """
        if self[index].clip is None:
            return np.asarray(self.image(index))[None]
        with opened(self._entries[index].blob) as file:
            return frames_at(file, num_frames=num_frames, fps=fps)

    def check(self, index: int) -> None:
        """Read a picture or a clip to its end.

        Raises:
            PictureError: it is damaged somewhere.
        """
        if self[index].clip is None:
            self.image(index)
            return
        with opened(self._entries[index].blob) as file:
            read_clip_to_the_end(file)

    def has_latents(self) -> bool:
        """Whether the samples are cached features instead of pictures."""
        return self.layout == "features"

    def latent(self, index: int) -> NDArray[Any]:
        """``(C, h, w)``, already scaled, as stored; only of cached features.

        Raises:
            PictureError: it cannot be read, or the data set holds pictures.
        """
        blob = self._latent_blob(index)
        return read_latent(read_blob(blob), blob.name)

    def latent_shape(self, index: int) -> tuple[int, int, int]:
        """``(C, h, w)`` from the header and the length of the file.

        Raises:
            PictureError: as ``latent``; numbers that are not finite are not looked for.
        """
        return npy_latent_shape(self._latent_blob(index))

    def _latent_blob(self, index: int) -> Blob:
        if not self.has_latents():
            raise PictureError(f"{self.path} holds pictures; it has no latents")
        return self._entries[index].blob

    def has_text_features(self, index: int) -> bool:
        """Whether they lie beside the latent."""
        return self._entries[index].text_features is not None

    def text_features(self, index: int) -> TextFeatures | None:
        """The cached features of the caption, if they lie beside the latent.

        Raises:
            PictureError: they lie there and cannot be read.
        """
        blob = self._entries[index].text_features
        return None if blob is None else read_text_features(read_blob(blob), blob.name)

    def text_features_bytes(self, index: int) -> bytes | None:
        """The ``.npz`` as stored, if there is one."""
        blob = self._entries[index].text_features
        return None if blob is None else read_blob(blob)


def npy_latent_shape(blob: Blob) -> tuple[int, int, int]:
    """``(C, h, w)`` of a ``.npy`` that is as long as its header says.

    Raises:
        PictureError: it is no latent, or cut off.
    """
    try:
        with blob.open() as file:
            shape, dtype = read_npy_header(file)
            expected = file.tell() + math.prod(shape) * dtype.itemsize
        length = blob.num_bytes
    except OSError as error:
        raise PictureError(f"{blob.name} cannot be read: {error.strerror or error}") from error
    if length != expected:
        raise PictureError(f"{blob.name} has {length} bytes, and its header tells of {expected}")
    channels, height, width = shape[-3:]
    return channels, height, width


def read_npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a latent."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except Exception as error:  # numpy parses the header as Python, which fails in many ways
        raise PictureError(f"it is no .npy array: {reason_of(error)}") from error
    return _latent_shape(shape, dtype), dtype


def _latent_shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    if dtype.kind != "f":
        raise PictureError(f"it holds {dtype}, and a latent is floating-point")
    if not (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1)) or 0 in shape:
        raise PictureError(f"its shape is {shape}, and a latent is (C, h, w) or (1, C, h, w)")
    return shape


def read_latent(content: bytes, name: str) -> NDArray[Any]:
    """``(C, h, w)``.

    Raises:
        PictureError: it is none, or holds numbers that are not finite.
    """
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise PictureError(f"{name} holds several arrays, and a latent is one")
        shape = _latent_shape(array.shape, array.dtype)
    except Exception as error:  # as above
        raise PictureError(f"{name} cannot be read as a latent: {reason_of(error)}") from error
    if not np.isfinite(array).all():
        raise PictureError(f"{name} holds numbers that are not finite")
    return array.reshape(shape[-3:])


def read_text_features(content: bytes, name: str) -> TextFeatures:
    """``caption_feature`` ``(1, L, C)`` or ``(L, C)``, and ``attention_mask`` of ``L`` or more dimensions, if any.

    Raises:
        PictureError: they are not there, or do not belong together.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > _MAX_FEATURE_BYTES:
            raise PictureError(f"it would unpack to {unpacked} bytes, and features of a text are never as many")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            embeds = arrays["caption_feature"]
            mask = arrays.get("attention_mask")
        embeds = embeds.reshape(embeds.shape[-2:])
        mask = np.ones(len(embeds), bool) if mask is None else mask.reshape(-1) != 0
    except Exception as error:  # zip files fail in many ways
        raise PictureError(f"{name} cannot be read as text features: {reason_of(error)}") from error
    if len(mask) != len(embeds) or not np.isfinite(embeds).all():
        raise PictureError(f"{name} holds {len(embeds)} features and {len(mask)} of their mask, or no finite numbers")
    return TextFeatures(embeds, mask)
