"""Who writes captions: one small interface, and how a recipe's captioner becomes an object."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sanakit.common.errors import ConfigError
from sanakit.data.curation.config import PluginCaptions, TransformersCaptions

if TYPE_CHECKING:
    from PIL import Image


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


def ask(captioner: Captioner, images: Sequence[Image.Image], source: str) -> list[str]:
    """The captions of some pictures, stripped.

    Raises:
        ConfigError: the captioner gave something else than one text for each picture.
    """
    texts = list(captioner(images))
    if len(texts) != len(images) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(
            f"the captioner {source} gave {len(texts)} answers ({texts[:1]!r}, ...) for {len(images)} pictures; "
            f"it must give one text for each"
        )
    return [text.strip() for text in texts]


def _load_plugin(config: PluginCaptions) -> Captioner:
    make = _find(config.target)
    try:
        captioner: Captioner = make(**config.arguments)
    except TypeError as error:
        raise ConfigError(f"the captioner {config.target} does not take {dict(config.arguments)}: {error}") from error
    if not callable(captioner):
        raise ConfigError(f"the captioner {config.target} makes a {type(captioner).__name__}, which cannot be called")
    return captioner


def _find(target: str) -> Callable[..., Any]:
    module_name, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the captioner {target} cannot be imported ({error}); it is package.module:Class") from error
    if not callable(found):
        raise ConfigError(f"the captioner {target} is a {type(found).__name__}; it must be a class or a function")
    return found
