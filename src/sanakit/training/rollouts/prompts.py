"""Where prompts to learn from come from: the scenes of a bank, or a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from sanakit.common.config import json_values
from sanakit.common.errors import ConfigError, RequestError
from sanakit.common.paths import as_path
from sanakit.features.identity import Identity, digest_of
from sanakit.features.scenes import identity_of_scenes, open_bank
from sanakit.worlds.sampling.holdout import Split
from sanakit.worlds.sampling.mixture import Mixture
from sanakit.worlds.world_scenes import WorldScenes


class Prompt(NamedTuple):
    """A text, and what is known of it: ``scene`` of a bank's, the other fields of a line of JSON."""

    text: str
    known: Mapping[str, Any]


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
    """A text file with a prompt a line, or JSON lines with a ``prompt`` and what else is known, as GenEval's.

    They come in another order in each epoch.
    """

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


def read_prompts(path: str) -> list[Prompt]:
    """The prompts of a file, empty lines left out.

    Raises:
        RequestError: it cannot be read, is no UTF-8, or holds none.
        ConfigError: a line of JSON is no object with a prompt.
    """
    try:
        lines = as_path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"the prompts of {path} cannot be read: {error}") from error
    found = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise RequestError(f"{path} holds no prompt; write one a line")
    if not path.endswith((".jsonl", ".json")):
        return [Prompt(line, {}) for _, line in found]
    return [_parsed(line, f"{path}:{number}") for number, line in found]


def _parsed(line: str, where: str) -> Prompt:
    try:
        record = json_values(line)
    except ValueError as error:
        raise ConfigError(f"{where} is no JSON: {error}") from error
    text = record.get("prompt") if isinstance(record, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f'{where} is no object with a prompt, such as {{"prompt": "a red cup"}}')
    return Prompt(text, {name: value for name, value in record.items() if name != "prompt"})
