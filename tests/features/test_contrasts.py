"""Pictures with right and wrong captions: every kind of word, nothing that is alike, the same each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from sanakit.common.ranks import ALONE
from sanakit.features import contrasts as module
from sanakit.features.configs import FilesData, ScenesData
from sanakit.features.contrasts import ANOTHER_CAPTION, contrasts
from sanakit.features.encoders import Encoders
from sanakit.features.open import latent_data
from sanakit.features.work import Demand, Work
from sanakit.worlds.telling.wrong_captions import WRONG_WORDS

DEMAND = Demand(resolutions=(64,), batch_size=8, seed=1)


def test_scenes_have_each_kind_of_wrong_word_as_often(encoders: Encoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PER_KIND", 3)
    config = ScenesData(bank="tiny", num_captions=4)
    work = Work(encoders=encoders, ranks=ALONE, device="cpu")
    batches = contrasts(config, None, DEMAND, work)  # type: ignore[arg-type]
    kinds = Counter(kind for batch in batches for kind in batch.kinds)
    assert kinds == dict.fromkeys(WRONG_WORDS, 3)
    assert [len(batch.kinds) for batch in batches] == [8, 8, 8, 3]
    for batch in batches:
        assert batch.latent.shape[0] == len(batch.right.mask) == len(batch.wrong.mask) == len(batch.kinds)
    again = contrasts(config, None, DEMAND, work)  # type: ignore[arg-type]
    assert all(torch.equal(a.latent, b.latent) and a.kinds == b.kinds for a, b in zip(batches, again, strict=True))


def test_files_have_the_captions_of_their_neighbours(encoders: Encoders, photos: Path) -> None:
    config = FilesData(path=str(photos))
    work = Work(encoders=encoders, ranks=ALONE, device="cpu")
    data = latent_data(config, DEMAND, work)
    batches = contrasts(config, data, DEMAND, work)
    assert batches
    assert {kind for batch in batches for kind in batch.kinds} == {ANOTHER_CAPTION}
    for batch in batches:
        assert (batch.right.embeds != batch.wrong.embeds).flatten(1).any(dim=1).all()
