"""Who writes captions: one small interface, and how a recipe's captioner becomes an object."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sanakit.common.errors import ConfigError, SanakitError
from sanakit.data.curation.config import PluginCaptions, TransformersCaptions
from sanakit.data.sources.files import is_clean

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)


class Captioner(Protocol):
    """Pictures to texts. Any object that can be called like this will do; a plug-in is a class (or function) that
    makes one from the ``arguments`` of its recipe."""

    def __call__(self, images: Sequence[Image.Image], /) -> Sequence[str]:
        """One text for each picture (RGB, upright), in the same order; an empty one means that it has none."""


class Scorer(Protocol):
    """What the curation needs of an image-text scorer (scoring/scorers.py)."""

    @property
    def name(self) -> str: ...

    def score(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        """One number for each picture with the text at the same place; higher is better."""
        ...


@runtime_checkable
class CutsTexts(Protocol):
    """A scorer that reads texts of a certain length, and the beginning of longer ones."""

    def cuts(self, text: str) -> bool:
        """Whether the end of a text is not read."""


def is_cut(scorer: object, text: str) -> bool:
    """Whether a scorer says so of a text."""
    return isinstance(scorer, CutsTexts) and scorer.cuts(text)


class ScorerLoader(Protocol):
    """``load_scorer`` of scoring/scorers.py, which this room does not know; it reaches other processes by pickle."""

    def __call__(self, name_or_path: str, /, *, device: str) -> Scorer: ...


def load_captioner(config: TransformersCaptions | PluginCaptions) -> Captioner:
    """Make the captioner of a recipe.

    Raises:
        ConfigError: a plug-in that cannot be imported or made, or a model that cannot be used here.
    """
    if isinstance(config, TransformersCaptions):
        from sanakit.data.curation.transformers_captioner import TransformersCaptioner

        return TransformersCaptioner(config)
    return _load_plugin(config)


def check_captioner(config: TransformersCaptions | PluginCaptions) -> None:
    """Find a wrong name before hours of other work, without loading a model's weights.

    Raises:
        ConfigError: the plug-in cannot be imported, or the model is not there.
    """
    if isinstance(config, PluginCaptions):
        _find(config.target)
    else:
        from sanakit.data.curation.transformers_captioner import check_model

        check_model(config)


class CaptionerFault(str):
    """Why a captioner has no caption for a picture, in words: what it raised."""


def ask_each(captioner: Captioner, images: Sequence[Image.Image], source: str) -> list[str]:
    """The captions of some pictures; where the captioner fails on them together, each is asked for alone, and one on
    which it still fails has a `CaptionerFault` in its place.

    Raises:
        ConfigError: the captioner gave more or fewer answers than there are pictures.
    """
    try:
        return ask(captioner, images, source)
    except SanakitError:
        raise
    except Exception as error:  # a captioner is somebody else's code
        if len(images) == 1:
            words = " ".join(str(error).split())
            return [CaptionerFault(f"the captioner {source} failed on it: {type(error).__name__}: {words}")]
        logger.info("the captioner %s failed on %d pictures together: %s", source, len(images), error)
    return [text for image in images for text in ask_each(captioner, [image], source)]


def ask(captioner: Captioner, images: Sequence[Image.Image], source: str) -> list[str]:
    """The captions of some pictures, stripped; in place of what is no text a `CaptionerFault`.

    Raises:
        ConfigError: the captioner gave more or fewer answers than there are pictures.
    """
    texts = list(captioner(images))
    if len(texts) != len(images):
        raise ConfigError(
            f"the captioner {source} gave {len(texts)} answers ({texts[:1]!r}, ...) for {len(images)} pictures; "
            f"it must give one text for each"
        )
    return [
        text.strip() if isinstance(text, str) and is_clean(text)
        else CaptionerFault(f"the captioner {source} gave {ascii(text)[:80]} for it, and no text")
        for text in texts
    ]  # fmt: skip


def _load_plugin(config: PluginCaptions) -> Captioner:
    make = _find(config.target)
    try:
        captioner: Captioner = make(**config.arguments)
    except TypeError as error:
        raise ConfigError(f"the captioner {config.target} does not take {dict(config.arguments)}: {error}") from error
    except Exception as error:  # somebody else's code
        raise ConfigError(f"the captioner {config.target} cannot be made: {type(error).__name__}: {error}") from error
    if not callable(captioner):
        raise ConfigError(f"the captioner {config.target} makes a {type(captioner).__name__}, which cannot be called")
    return captioner


def _find(target: str) -> Callable[..., Any]:
    """A class or function that is meant to make captioners; a recipe can name no other."""
    module_name, _, name = target.partition(":")
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(f"the captioner {target} is of Python's own library, where no captioner is")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the captioner {target} cannot be imported ({error}); it is package.module:Class") from error
    if isinstance(found, type):
        is_meant = any("__call__" in vars(base) for base in found.__mro__)  # of its objects
    else:
        is_meant = "Captioner" in str(getattr(found, "__annotations__", {}).get("return"))
    if not is_meant:
        raise ConfigError(
            f"the captioner {target} is not meant to be one: a class has a __call__ that takes pictures, and a "
            f"function says that it returns a Captioner (-> Captioner)"
        )
    make: Callable[..., Any] = found
    return make
