"""The endless stream of pictures, captions and truths that training reads."""

from __future__ import annotations

from typing import NamedTuple, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sanakit.common.errors import ConfigError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.moving.motions import sample_moving_scene
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.sampling.mixture import Mixture
from sanakit.worlds.sampling.random_scenes import sample_scene
from sanakit.worlds.scenes.description import Scene
from sanakit.worlds.telling.captions import caption


class Sample(NamedTuple):
    """One training example: ``image`` is ``(size, size, 3)`` uint8 RGB."""

    image: NDArray[np.uint8]
    caption: str
    scene: Scene


class WorldScenes:
    """An endless data set whose sample ``index`` depends on (bank, seed, split, index) and on nothing else.

    Any process can make any sample, so shards and resumed runs need no state.
    """

    def __init__(
        self,
        bank: Bank,
        split: Split,
        seed: int,
        size: int = 128,
        *,
        mixture: Mixture | None = None,
        moving: bool = False,
    ) -> None:
        """Args: ``moving`` has things do something, which captions tell; `set_in_motion` then gives them paths."""
        if split not in get_args(Split):
            raise ConfigError(f"split={split!r} is unknown; choose one of {', '.join(get_args(Split))}")
        self.bank = bank
        self._split, self._seed, self._size, self._mixture = split, seed, size, mixture
        self._sample = sample_moving_scene if moving else sample_scene

    def sample(self, index: int) -> Sample:
        scene, text = self.truth(index)
        return Sample(image=compose(scene, self.bank, self._size), caption=text, scene=scene)

    def truth(self, index: int) -> tuple[Scene, str]:
        """The scene and caption of `sample`, without painting the picture."""
        rng = self._rng(index)
        scene = self._sample(rng, self.bank, self._split, mixture=self._mixture)
        return scene, caption(scene, rng, self.bank, split=self._split)

    def _rng(self, index: int) -> Generator:
        return np.random.default_rng((self._seed, get_args(Split).index(self._split), index))
