"""What a recipe says about its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sanakit.common.errors import ConfigError
from sanakit.data.caption_choice import CaptionChoice, PowerLawChoice
from sanakit.data.sources.files import is_clean
from sanakit.worlds.banks.things import Style
from sanakit.worlds.sampling.mixture import Mixture


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesData:
    """Pictures or clips with captions in any layout that sanakit opens, or shards of cached features."""

    type: Literal["files"] = "files"
    path: str
    prompt: str | None = None  # the caption of pictures that have none; None: they are left out
    caption_choice: CaptionChoice = field(default_factory=PowerLawChoice)
    drop_below: float | None = None  # leave out pictures whose best caption scores less; those without scores stay
    min_size: int = 1  # pixels; smaller pictures are left out
    leave_out: tuple[str, ...] = ()  # keys of samples that are not used
    also: tuple[str, ...] = ()  # folders beside path that its rows and links may lead to
    motion_score: bool = True  # behind captions of clips stands how much moves in them, as upstream trains
    cache: bool = True  # compute latents and text features once and keep them; false: anew in every step
    cache_folder: str | None = None  # None: the user's cache, which other recipes share

    def __post_init__(self) -> None:
        _check_files(self.path, self.min_size)
        if self.prompt is not None:
            _check_prompt("prompt", self.prompt)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenesData:
    """Scenes of a bank of things: ``num_captions`` of them, each painted ``num_copies`` times in its own way.

    A caption is encoded once and its copies share it; a few fixed pictures would be learned by heart.
    """

    type: Literal["scenes"] = "scenes"
    bank: str = "full"  # "full", "drawings", "tiny" or a folder
    names: str | None = None  # a file with one name a line: only these things; None: all of the bank
    num_captions: int = 24_576
    num_copies: int = 3
    mixture: Mixture | None = None  # how often which kind of scene and which relation; None: as usual
    seed: int = 7  # decides which scenes
    cache_folder: str | None = None  # None: the user's cache

    def __post_init__(self) -> None:
        _check_counts(self.num_captions, self.num_copies)
        _check_seed(self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class DreamBoothData:
    """A few pictures of one thing, and as many of its class as the model made itself before it learned the thing, so
    that the class stays as it was (DreamBooth, arXiv:2208.12242, section 3.2)."""

    type: Literal["dreambooth"] = "dreambooth"
    instance: str  # folder of pictures of the thing
    prompt: str  # of those that have no caption: "a sks cup"
    class_prompt: str | None = None  # of the pictures that the model of init: makes: "a cup"
    class_prompts: str | None = None  # or a file of prompts, which take turns: what else is to stay
    num_class_pictures: int = 100
    class_seed: int = 0  # of the first of them; the others count on
    prior_share: float = 0.5  # of micro-batches that are of the class; s is a prior weight of s / (1 - s)
    cache_folder: str | None = None  # None: the user's cache

    def __post_init__(self) -> None:
        if not self.instance:
            raise ConfigError("data.instance is empty; give the folder that holds pictures of the thing")
        _check_prompt("prompt", self.prompt)
        if (self.class_prompt is None) == (self.class_prompts is None):
            raise ConfigError("data wants class_prompt, or class_prompts: a file with one prompt a line")
        if self.class_prompt is not None:
            _check_prompt("class_prompt", self.class_prompt)
        if self.num_class_pictures < 1:
            raise ConfigError(f"data.num_class_pictures={self.num_class_pictures} must be at least 1")
        if self.class_seed < 0:
            raise ConfigError(f"data.class_seed={self.class_seed} must be 0 or more")
        if not 0 < self.prior_share < 1:
            raise ConfigError(
                f"data.prior_share={self.prior_share} must lie between 0 and 1; without pictures of the class use "
                f"data of type files with a prompt"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ThingData:
    """A few pictures of one thing, cut out of them and put into scenes of a bank, under a word of its own."""

    type: Literal["thing"] = "thing"
    path: str  # folder of pictures of the thing
    word: str  # what it is called: "zorbl"
    prompt: str | None = None  # caption of pictures that have none; None: "a" and the word
    style: Style = "flat"  # what captions may call it: "a flat drawing of"; scenes mix it with things of this style
    bank: str = "drawings"  # "full", "drawings", "tiny" or a folder
    names: str | None = None  # a file with one name a line: only these things, best those that the model knows
    num_captions: int = 640  # of scenes with the thing, and as many without it
    num_copies: int = 2
    mixture: Mixture | None = None  # how often which kind of scene and which relation, as of scenes
    picture_share: float = 0.1  # of micro-batches with the thing that are the pictures as they are
    prior_share: float = 0.5  # of micro-batches that are scenes without the thing, so that all else stays as it was
    seed: int = 7  # decides which scenes
    cache_folder: str | None = None  # None: the user's cache

    def __post_init__(self) -> None:
        _check_files(self.path, 1)
        _check_prompt("word", self.word)
        if self.word != " ".join(self.word.split()):
            raise ConfigError(f"data.word={self.word!r} has a space too many, as captions would have; leave it out")
        if self.prompt is not None:
            _check_prompt("prompt", self.prompt)
        _check_counts(self.num_captions, self.num_copies)
        _check_seed(self.seed)
        for name in ("picture_share", "prior_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"data.{name}={getattr(self, name)} must be from 0 to below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePictures:
    """Pictures alone, for an autoencoder, from any layout that sanakit opens; captions do not matter."""

    type: Literal["files"] = "files"
    path: str
    min_size: int = 1  # pixels; smaller pictures are left out
    leave_out: tuple[str, ...] = ()  # keys of samples that are not used
    also: tuple[str, ...] = ()  # folders beside path that its rows and links may lead to

    def __post_init__(self) -> None:
        _check_files(self.path, self.min_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenePictures:
    """Scenes of a bank of things, composed as training goes on; none is ever seen twice."""

    type: Literal["scenes"] = "scenes"
    bank: str = "full"  # "full", "drawings", "tiny" or a folder
    names: str | None = None  # a file with one name a line: only these things; None: all of the bank
    seed: int = 0  # decides which scenes

    def __post_init__(self) -> None:
        _check_seed(self.seed)


LatentDataConfig = FilesData | ScenesData | DreamBoothData | ThingData
PixelDataConfig = FilePictures | ScenePictures


def _check_files(path: str, min_size: int) -> None:
    if not path:
        raise ConfigError("data.path is empty; give the folder or file that holds the pictures")
    if min_size < 1:
        raise ConfigError(f"data.min_size={min_size} must be at least 1 px")


def _check_prompt(name: str, prompt: str) -> None:
    if not prompt.strip():
        raise ConfigError(f"data.{name} is empty; say what is in the pictures")
    if not is_clean(prompt):
        raise ConfigError(f"data.{name}={prompt!r} holds half of a surrogate pair, which no tokenizer reads")


def _check_counts(num_captions: int, num_copies: int) -> None:
    if num_captions < 1 or num_copies < 1:
        raise ConfigError(f"data.num_captions={num_captions} and data.num_copies={num_copies} must be at least 1")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise ConfigError(f"data.seed={seed} must be 0 or more")
