"""Judges by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.identity.words import read_words
from sanakit.checkpoints.sources.origin import STARTER, starter_folder
from sanakit.scoring.extractors.preprocessing import find_model_folder
from sanakit.scoring.judges.judge import Judge, SimilarityJudge
from sanakit.scoring.judges.world_judge import WorldJudge

READER = "reader"
_OF_SIMILARITY = ("clip", "siglip")


@dataclass(frozen=True, slots=True)
class FoundJudge:
    """A judge that is there, not loaded yet."""

    name: str
    kind: Literal["reader", "similarity", "yes-no"]
    hub: HubOptions | None = None

    def load(self, words: Mapping[str, Any] | None = None, *, device: str | torch.device = "cpu") -> Judge:
        """Read its weights.

        Args:
            words: of the model whose pictures are judged; those of the starter if there are none.

        Raises:
            MissingExtraError, DownloadError, CheckpointError: packages or weights are missing or damaged.
        """
        match self.kind:
            case "reader":
                from sanakit.scoring.reading.load import load_reader

                return WorldJudge(load_reader(device=device), words or read_words(starter_folder() / "words.json"))
            case "similarity":
                from sanakit.scoring.scorers import load_scorer

                return SimilarityJudge(load_scorer(self.name, device=device, hub=self.hub))
            case "yes-no":
                from sanakit.scoring.judges.yes_no import load_yes_no_judge

                return load_yes_no_judge(self.name, device=device, hub=self.hub)


def find_judge(name: str, *, hub: HubOptions | None = None) -> FoundJudge:
    """The judge of a name: "reader" (of the starter's worlds), "starter" (the dual encoder that ships), or a folder or
    hub id of a CLIP, a SigLIP or a vision-language model of transformers, which is asked for yes or no.

    Args:
        hub: how a hub id is fetched, and the one source whose own code may be run.

    Raises:
        RequestError: the name is none of these.
        DownloadError: a hub id whose files are not in the cache and cannot be fetched.
        CheckpointError: a damaged folder.
    """
    if name == READER:
        return FoundJudge(name, "reader")
    if name == STARTER:
        return FoundJudge(name, "similarity")
    kind = read_json(find_model_folder(name, hub) / "config.json").get("model_type")
    return FoundJudge(name, "similarity" if kind in _OF_SIMILARITY else "yes-no", hub)
