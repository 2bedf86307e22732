"""Where prompts to learn from come from: the scenes of a bank, or a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sanakit.data.prompts import Prompt, read_prompts
from sanakit.features.identity import Identity, digest_of
from sanakit.features.scenes import identity_of_scenes, open_bank
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.sampling.mixture import Mixture
from sanakit.worlds.world_scenes import WorldScenes


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenePrompts:
    """Captions of a bank's training scenes, each with its scene; none comes twice."""

    type: Literal["scenes"] = "scenes"
    bank: str = "full"  # "full", "drawings", "tiny" or a folder
    names: str | None = None  # a file with one name a line: only these things; None: all of the bank
    seed: int = 0  # decides which scenes
    mixture: Mixture | None = None  # how often which kind of scene and which relation; None: as training has it
    moving: bool = False  # things do something, as captions of clips say


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedPrompts:
    """A file of prompts, which may say more of each, as GenEval's; they come in another order in each epoch."""

    type: Literal["list"] = "list"
    path: str
    held_out: str | None = None  # such a file of prompts that reports are measured on


PromptsConfig = ScenePrompts | ListedPrompts


class Prompts:
    """Prompts by number, of a seed."""

    def __init__(self, config: PromptsConfig, seed: int, split: Split = "train") -> None:
        self._config, self._seed = config, seed
        self.identity: Identity
        if isinstance(config, ScenePrompts):
            bank = open_bank(config.bank, config.names)
            self._scenes = WorldScenes(bank, split, config.seed, mixture=config.mixture, moving=config.moving)
            self.identity = identity_of_scenes(bank)
            self._listed: list[Prompt] = []
        else:
            path = config.path if split == "train" else config.held_out
            self._listed = read_prompts(path) if path is not None else []
            self.identity = {"prompts": digest_of(repr(each) for each in self._listed)}

    def __getitem__(self, number: int) -> Prompt:
        if isinstance(self._config, ScenePrompts):
            scene, text = self._scenes.truth(number)
            return Prompt(text, {"scene": scene.to_json()})
        epoch, place = divmod(number, len(self._listed))
        return self._listed[int(np.random.default_rng((self._seed, epoch)).permutation(len(self._listed))[place])]

    def first(self, num: int) -> list[Prompt]:
        """So many, or as many as there are."""
        if isinstance(self._config, ScenePrompts):
            return [self[number] for number in range(num)]
        return self._listed[:num]
