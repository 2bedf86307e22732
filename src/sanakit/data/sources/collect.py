"""From what a layout's reader has found to an opened data set: every sample is checked, and none goes silently."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.data.pictures import decode_picture, picture_size, reason_of
from sanakit.data.samples import MAIN_SOURCE, Caption, Layout, Problem, Reason, Sample, TextFeatures
from sanakit.data.sources.blobs import Blob, read_blob

SANA_COMPRESSION = 32  # pixels a side of one latent cell; used where nothing else tells the size of the picture


@dataclass(slots=True)
class Candidate:
    """A sample as a reader found it, not yet checked."""

    key: str
    blob: Blob  # the picture, or the .npy of a latent
    captions: list[Caption] = field(default_factory=list)
    unreadable_captions: list[str] = field(default_factory=list)  # a sentence about each
    size: tuple[int, int] | None = None  # (width, height) upright; None: read the header
    undecodable: str | None = None  # why the header could not be read, if that is known already
    text_features: Blob | None = None
    has_latent: bool = False
    unused_columns: set[str] = field(default_factory=set)  # that hold texts beside the captions


@dataclass(slots=True)
class Findings:
    """All that a reader found."""

    candidates: list[Candidate] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, key: str, reason: Reason, detail: str) -> None:
        """Note a problem; its detail becomes one line."""
        self.problems.append(Problem(key=key, reason=reason, detail=" ".join(detail.split())))


@dataclass(frozen=True, slots=True)
class Entry:
    """A good sample and where it is."""

    sample: Sample
    blob: Blob
    text_features: Blob | None


@dataclass(frozen=True, eq=False)
class IndexedData:
    """The data source that every layout becomes: entries in memory, by key."""

    path: Path
    layout: Layout
    problems: tuple[Problem, ...]
    unused_columns: tuple[str, ...]
    _entries: tuple[Entry, ...]
    _has_latents: bool

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Sample:
        return self._entries[index].sample

    def blob(self, index: int) -> Blob:
        """Where the stored file is."""
        return self._entries[index].blob

    def read_bytes(self, index: int) -> bytes:
        return read_blob(self._entries[index].blob)

    def image(self, index: int) -> Image.Image:
        if self._has_latents:
            raise PictureError(f"{self.path} holds latents; it has no pictures")
        return decode_picture(self.read_bytes(index))

    def stamp(self, index: int) -> str | None:
        return self._entries[index].blob.stamp()

    def has_latents(self) -> bool:
        return self._has_latents

    def latent(self, index: int) -> NDArray[Any]:
        blob = self._latent_blob(index)
        return read_latent(read_blob(blob), blob.name)

    def latent_shape(self, index: int) -> tuple[int, int, int]:
        return npy_latent_shape(self._latent_blob(index))

    def _latent_blob(self, index: int) -> Blob:
        if not self._has_latents:
            raise PictureError(f"{self.path} holds pictures; it has no latents")
        return self._entries[index].blob

    def has_text_features(self, index: int) -> bool:
        return self._entries[index].text_features is not None

    def text_features(self, index: int) -> TextFeatures | None:
        blob = self._entries[index].text_features
        return None if blob is None else read_text_features(read_blob(blob), blob.name)

    def text_features_bytes(self, index: int) -> bytes | None:
        """The ``.npz`` as stored, if there is one."""
        blob = self._entries[index].text_features
        return None if blob is None else read_blob(blob)


def collect(path: Path, layout: Layout, findings: Findings, *, min_size: int, need_captions: bool) -> IndexedData:
    """Check every candidate; the good ones by key, all the others with their reasons."""
    entries, used = [], dict[str, str]()
    for candidate in sorted(findings.candidates, key=lambda candidate: (candidate.key, candidate.blob.name)):
        key, name = candidate.key, candidate.blob.name
        if key in used:
            findings.report(key, "duplicate_key", f"{name} has the key of {used[key]}, which is used instead of it")
            continue
        used[key] = name
        sample = _checked(candidate, findings, min_size=min_size, need_captions=need_captions)
        if sample is not None:
            entries.append(Entry(sample, candidate.blob, candidate.text_features))
    has_latents = any(candidate.has_latent for candidate in findings.candidates)
    unused = {name for candidate in findings.candidates for name in candidate.unused_columns}
    return IndexedData(
        path, layout, tuple(sorted(findings.problems)), tuple(sorted(unused)), tuple(entries), has_latents
    )


def _checked(candidate: Candidate, findings: Findings, *, min_size: int, need_captions: bool) -> Sample | None:
    """The sample, or None; what is wrong with it is added to ``findings``."""
    captions = ordered(caption for caption in candidate.captions if caption.text)
    size = _size(candidate, findings)
    if size is not None and min(size) < min_size:
        detail = f"it has {size[0]}x{size[1]} px; the shorter side must have {min_size} px"
        findings.report(candidate.key, "too_small", detail)
        size = None
    if (need_captions and not _has_captions(candidate, captions, findings)) or size is None:
        return None
    return Sample(key=candidate.key, width=size[0], height=size[1], captions=captions)


def _size(candidate: Candidate, findings: Findings) -> tuple[int, int] | None:
    name, reason = candidate.blob.name, candidate.undecodable
    try:
        if reason is None:
            return _read_size(candidate)
    except FileNotFoundError:
        findings.report(candidate.key, "missing_image", f"{name} is a link to a file that is not there")
        return None
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
    except PictureError as error:
        reason = str(error)
    findings.report(candidate.key, "undecodable", f"{name}: {reason}")
    return None


def _has_captions(candidate: Candidate, captions: Sequence[Caption], findings: Findings) -> bool:
    for detail in candidate.unreadable_captions:
        findings.report(candidate.key, "bad_record", detail)
    if captions or candidate.text_features is not None:
        return True  # an empty one among others is how tables say that there is none from that source
    if candidate.captions:
        findings.report(candidate.key, "empty_caption", "its caption is empty")
    elif not candidate.unreadable_captions:
        findings.report(candidate.key, "missing_caption", f"{candidate.blob.name} has no caption")
    return False


def ordered(captions: Iterable[Caption]) -> tuple[Caption, ...]:
    """``prompt`` first, then by source; a source that comes again is numbered: ``text``, ``text_2``."""
    counts: Counter[str] = Counter()
    numbered = []
    for caption in captions:
        counts[caption.source] += 1
        again = counts[caption.source]
        numbered.append(caption if again == 1 else replace(caption, source=f"{caption.source}_{again}"))
    return tuple(sorted(numbered, key=lambda caption: (caption.source != MAIN_SOURCE, caption.source)))


def _read_size(candidate: Candidate) -> tuple[int, int]:
    """``(width, height)`` in pixels, from the header; raises PictureError and OSError."""
    if candidate.size is not None and not candidate.has_latent:
        return candidate.size
    with candidate.blob.open() as file:
        if not candidate.has_latent:
            return picture_size(file)
        (*_, height, width), _ = _npy_header(file)
    return candidate.size or (width * SANA_COMPRESSION, height * SANA_COMPRESSION)


def npy_latent_shape(blob: Blob) -> tuple[int, int, int]:
    """``(C, h, w)`` of a ``.npy`` that is as long as its header says.

    Raises:
        PictureError: it is no latent, or cut off.
    """
    try:
        with blob.open() as file:
            shape, dtype = _npy_header(file)
            expected = file.tell() + math.prod(shape) * dtype.itemsize
        length = blob.num_bytes()
    except OSError as error:
        raise PictureError(f"{blob.name} cannot be read: {error.strerror or error}") from error
    if length != expected:
        raise PictureError(f"{blob.name} has {length} bytes, and its header tells of {expected}")
    channels, height, width = shape[-3:]
    return channels, height, width


def _npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
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
