"""What a data set on disk is to the rest of sanakit: samples in a fixed order, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

Layout = Literal["folder", "jsonl", "csv", "json", "parquet", "imagefolder", "wids", "features"]
Reason = Literal[
    "undecodable",
    "too_small",
    "empty_caption",
    "missing_caption",
    "missing_image",
    "duplicate_key",
    "bad_record",
    "bad_shard",
]
MAIN_SOURCE = "prompt"  # SANA's name of the caption that came with the picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """One text about a picture."""

    source: str  # who wrote it: "prompt", "InternVL2-26B", a column of a table, ...
    text: str
    score: float | None = None  # of an image-text scorer; higher is better


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A picture (or its latent) with its captions, without its pixels."""

    key: str  # unique in its data set
    width: int  # pixels, upright (EXIF orientation applied); known without decoding the whole picture
    height: int
    captions: tuple[Caption, ...]  # "prompt" first if there is one, the others by the name of their source


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Problem:
    """Something in a data set that cannot be used, or not wholly. They are ordered by key."""

    key: str  # of the sample, or the name of the file, relative to the data set
    reason: Reason
    detail: str  # one sentence


class DataSource(Protocol):
    """A data set on disk, opened: its good samples in a fixed order, and what is wrong with the others.

    Reading is safe from several threads and after a fork, and an open data source can be pickled for another process.
    """

    @property
    def path(self) -> Path:
        """The folder or file that was opened."""

    @property
    def layout(self) -> Layout:
        """How it is laid out; docs/data.md describes each."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What opening found, by key; pictures are not decoded for it."""

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """Columns of tables, or names in JSON, that hold texts and are neither captions nor files nor scores."""

    def __len__(self) -> int:
        """Samples that can be used."""

    def __getitem__(self, index: int) -> Sample:
        """From the index in memory; raises IndexError past the end."""

    def read_bytes(self, index: int) -> bytes:
        """The picture file as stored: PNG, JPEG, ...; of cached features the ``.npy`` of the latent.

        Raises:
            PictureError: the file cannot be read any more.
        """

    def stamp(self, index: int) -> str | None:
        """What stays the same as long as the stored bytes do; None if that cannot be told yet."""

    def image(self, index: int) -> Image.Image:
        """The picture upright in RGB, transparency over white.

        Raises:
            PictureError: it cannot be decoded, or the data set holds latents.
        """

    def has_latents(self) -> bool:
        """Whether the samples are cached features instead of pictures."""

    def latent(self, index: int) -> NDArray[Any]:
        """``(C, h, w)``, already scaled, as stored; only of cached features.

        Raises:
            PictureError: it cannot be read, or the data set holds pictures.
        """

    def latent_shape(self, index: int) -> tuple[int, int, int]:
        """``(C, h, w)`` from the header and the length of the file.

        Raises:
            PictureError: as ``latent``; numbers that are not finite are not looked for.
        """

    def has_text_features(self, index: int) -> bool:
        """Whether they lie beside the latent."""

    def text_features(self, index: int) -> TextFeatures | None:
        """The cached features of the caption, if they lie beside the latent.

        Raises:
            PictureError: they lie there and cannot be read.
        """


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What a text encoder made of a caption."""

    embeds: NDArray[Any]  # (L, C)
    mask: NDArray[Any]  # (L,) bool, True for real tokens
