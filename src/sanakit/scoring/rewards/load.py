"""Rewards by name."""

from __future__ import annotations

import importlib
import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.words import read_words
from sanakit.checkpoints.sources.origin import starter_folder
from sanakit.common.errors import ConfigError, first_line
from sanakit.scoring.judges.judge import Judge
from sanakit.scoring.judges.load import READER, find_judge
from sanakit.scoring.rewards.image_reward import load_image_reward
from sanakit.scoring.rewards.published import KINDS, load_published
from sanakit.scoring.rewards.remote import RemoteReward
from sanakit.scoring.rewards.reward import ONE_PART, Metadata, Reward, Rewarded
from sanakit.scoring.rewards.things_seen import load_things_seen
from sanakit.scoring.rewards.world_motion import WorldMotion
from sanakit.scoring.rewards.world_reward import WorldReward
from sanakit.scoring.rewards.written_text import load_written_text

OTHERS: dict[str, Callable[..., Reward]] = {
    "imagereward": load_image_reward,
    "ocr": load_written_text,
    "geneval": load_things_seen,
}


def load_reward(
    name: str,
    *,
    words: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    hub: HubOptions | None = None,
) -> Reward:
    """The reward of a name.

    "reader" reads the worlds' scenes, "motion" those in motion in clips, "jpeg" prefers pictures that a JPEG keeps
    small, ``module:function`` or ``file.py:function`` is a function of your own, ``http://...`` those of a ``sanakit
    reward serve`` there, ``clipscore:``, ``pickscore:``, ``hpsv2:``, ``aesthetic:``, ``imagereward:``, ``ocr:`` or
    ``geneval:`` before a place a published scorer, and every other name is that of a judge: "starter", or a folder or
    hub id of a CLIP, a SigLIP or a vision-language model.

    Args:
        words: of the model whose pictures are judged; those of the starter if there are none.
        hub: how a hub id is fetched.

    Raises:
        ConfigError: there is no such function.
        RequestError, DownloadError, CheckpointError, MissingExtraError: as of ``find_judge`` and its ``load``.
    """
    if name in (READER, WorldMotion.name):
        from sanakit.scoring.reading.load import load_reader

        kind = WorldReward if name == READER else WorldMotion
        return kind(load_reader(device=device), words or read_words(starter_folder() / "words.json"))
    if name == "jpeg":
        return small_as_jpeg
    if name.startswith(("http://", "https://")):
        return RemoteReward(name)
    before, _, place = name.partition(":")
    if before in KINDS:
        return load_published(before, place, device=device, hub=hub)
    if before in OTHERS:
        return OTHERS[before](place, device=device, hub=hub)
    if ":" in name:
        return _own(name)
    return JudgeReward(find_judge(name, hub=hub).load(words, device=device))


class JudgeReward:
    """A judge of candidates as a reward: its only number, or of one who says yes or no, how often it is yes."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.name, self.weights_hash = judge, judge.name, judge.weights_hash

    def __call__(
        self, pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]
    ) -> Rewarded:
        scores = self.judge(pictures, prompts)
        return Rewarded({ONE_PART: [each[0] for each in scores]}, [{"judged": list(each)} for each in scores])


def small_as_jpeg(pictures: Sequence[Image.Image], prompts: Sequence[str], metadata: Sequence[Metadata]) -> list[float]:
    """Minus the size at quality 95 in units of 500 kB: a reward that needs no network, for trials."""
    sizes = []
    for picture in pictures:
        file = io.BytesIO()
        picture.convert("RGB").save(file, "JPEG", quality=95)
        sizes.append(-len(file.getvalue()) / 500_000)
    return sizes


def _own(name: str) -> Reward:
    """``module:function`` or ``file.py:function``."""
    place, _, function = name.rpartition(":")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        found: Callable[..., Any] = getattr(module, function)
    except Exception as error:  # whatever the file does
        raise ConfigError(f"reward {name} cannot be loaded: {first_line(error)}") from error
    if not callable(found):
        raise ConfigError(f"reward {name} is no function")
    return found
