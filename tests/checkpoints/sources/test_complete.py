"""Who stands in for what a model lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sanakit.checkpoints.opening import open_model
from sanakit.checkpoints.sources.origin import starter_folder
from sanakit.common.errors import CheckpointError


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """The starter's transformer and card, without autoencoder and words."""
    for name in ("transformer", "scheduler"):
        shutil.copytree(starter_folder() / name, tmp_path / name)
    for name in ("sanakit.json", "model_index.json"):
        shutil.copy(starter_folder() / name, tmp_path / name)
    return tmp_path


def test_a_model_of_the_starters_latents_is_whole_with_the_starters_autoencoder_and_words(alone: Path) -> None:
    opened, starter = open_model(alone), open_model("starter")
    assert opened.parts.autoencoder is not None
    assert opened.parts.autoencoder.config == starter.parts.networks["autoencoder"].config
    assert opened.words == starter.words
    assert opened.card.model_hash == starter.card.model_hash


def test_a_model_of_other_latents_is_not(alone: Path) -> None:
    card = json.loads((alone / "sanakit.json").read_text())
    card["hashes"]["autoencoder"] = "0" * 64
    (alone / "sanakit.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="no published one fits in its place"):
        open_model(alone)
