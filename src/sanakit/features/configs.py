"""What a recipe says about its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sanakit.common.errors import ConfigError
from sanakit.data.caption_choice import CaptionChoice, PowerLawChoice


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesData:
    """Pictures with captions in any layout that sanakit opens, or shards of cached features."""

    type: Literal["files"] = "files"
    path: str
    caption_choice: CaptionChoice = field(default_factory=PowerLawChoice)
    drop_below: float | None = None  # leave out pictures whose best caption scores less; those without scores stay
    min_size: int = 1  # pixels; smaller pictures are left out
    cache: bool = True  # compute latents and text features once and keep them; false: anew in every step
    cache_folder: str | None = None  # None: the user's cache, which other recipes share

    def __post_init__(self) -> None:
        _check_files(self.path, self.min_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class StarterScenesData:
    """Scenes of the starter's world: ``num_captions`` of them, each painted ``num_copies`` times, moved a little.

    A caption is encoded once and its copies share it; a few fixed pictures would be learned by heart.
    """

    type: Literal["starter_scenes"] = "starter_scenes"
    num_captions: int = 24_576
    num_copies: int = 3
    seed: int = 7  # decides which scenes
    cache_folder: str | None = None  # None: the user's cache

    def __post_init__(self) -> None:
        if self.num_captions < 1 or self.num_copies < 1:
            raise ConfigError(
                f"data.num_captions={self.num_captions} and data.num_copies={self.num_copies} must be at least 1"
            )
        _check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePictures:
    """Pictures alone, for an autoencoder, from any layout that sanakit opens; captions do not matter."""

    type: Literal["files"] = "files"
    path: str
    min_size: int = 1  # pixels; smaller pictures are left out

    def __post_init__(self) -> None:
        _check_files(self.path, self.min_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenePictures:
    """Scenes of the starter's world, composed as training goes on; none is ever seen twice."""

    type: Literal["starter_scenes"] = "starter_scenes"
    seed: int = 0  # decides which scenes

    def __post_init__(self) -> None:
        _check_seed(self.seed)


LatentDataConfig = FilesData | StarterScenesData
PixelDataConfig = FilePictures | ScenePictures


def _check_files(path: str, min_size: int) -> None:
    if not path:
        raise ConfigError("data.path is empty; give the folder or file that holds the pictures")
    if min_size < 1:
        raise ConfigError(f"data.min_size={min_size} must be at least 1 px")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ConfigError(f"data.seed={seed} must be 0 or more")
