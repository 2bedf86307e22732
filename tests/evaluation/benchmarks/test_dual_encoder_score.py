"""Scores of a dual encoder on held-out scenes, by a stand-in that knows how bright pictures and texts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.common.errors import ConfigError
from sanakit.evaluation.benchmarks import dual_encoder_score as module
from sanakit.evaluation.benchmarks.dual_encoder_score import dual_encoder_report, heldout_pairs
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.sampling.holdout import heldout_pairings
from sanakit.worlds.telling.truth import truth
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS


class Brightness:
    """The vector of a picture says how bright it is, that of a text always "dark"."""

    name, weights_hash, resize_rule = "stand-in", "none", "none"

    def embed_pictures(self, images: Sequence[Image.Image]) -> torch.Tensor:
        bright = torch.tensor([float(np.asarray(image).mean()) / 255 for image in images])
        return torch.stack([bright, 1 - bright], dim=1)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[0.0, 1.0]]).expand(len(texts), -1)


def test_every_kind_is_asked_with_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRIEVAL_SIZE", 8)
    scorer: Any = Brightness()
    told: list[tuple[int, int, str]] = []
    report = dual_encoder_report(
        scorer, load_bank("tiny"), num_scenes=8, seed=0, on_progress=lambda *facts: told.append(facts)
    )
    assert [done for done, _, _ in told] == list(range(1, len(WRONG_WORDS) + 2))
    assert {total for _, total, _ in told} == {told[-1][0]}
    names = [each.name for each in report.measurements]
    assert {f"wrong {kind}, caption" for kind in WRONG_WORDS} <= set(names)
    assert report["wrong relation, caption"].value == 0.0  # all texts are alike, and a tie is no win
    assert 0 <= report["wrong relation, picture"].value <= 1
    with pytest.raises(ConfigError, match="at least 8"):
        dual_encoder_report(scorer, load_bank("tiny"), num_scenes=7, seed=0)


def test_pairs_are_held_out_and_wrong() -> None:
    bank = load_bank("tiny")
    for pair in heldout_pairs("front/behind", bank, 6, seed=1):
        assert heldout_pairings(pair.scene)
        assert truth(pair.wrong, pair.scene, bank) == -1
        assert pair.caption != pair.wrong_caption


def test_as_many_pairs_as_asked_for() -> None:
    for number in (1, 3):
        assert len(list(heldout_pairs(WRONG_WORDS[0], load_bank("tiny"), number, 0))) == number
