"""Pictures with right and wrong captions: every kind of word, nothing that is alike, the same each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sanakit.common.ranks import ALONE
from sanakit.features import contrasts as module
from sanakit.features.batches import LatentBatch
from sanakit.features.configs import FilesData, ScenesData
from sanakit.features.contrasts import ANOTHER_CAPTION, Contrast, balanced, contrasts, exchanged
from sanakit.features.encoders import Encoders
from sanakit.features.open import latent_data
from sanakit.features.work import Demand, Work
from sanakit.models.text.text_condition import TextCondition
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


def _found(kinds: Sequence[str], asked: list[int]) -> Iterator[Contrast]:
    """Scene ``n`` has the kinds given as one text, "ab" has a and b; what is asked for is noted."""
    for number, each in enumerate(kinds):
        asked.append(number)
        yield Contrast(lambda: np.zeros((1, 1, 3), np.uint8), str(number), dict.fromkeys(each, f"not {number}"))


@pytest.mark.parametrize(
    ("kinds", "last", "counts"),
    [
        (["ab"] * 300, 200, {"a": 24, "b": 24}),  # all have theirs long before, but rarer kinds may yet come
        (["a"] * 205 + ["b"] * 30, 200, {"a": 24}),
        (["a"] * 190 + ["b"] * 60, 213, {"a": 24, "b": 24}),  # 190 + 24 scenes
        ([""] * 210, 209, {}),
        (["a"] * 199 + ["b"] * 3000, 222, {"a": 24, "b": 24}),
        (["a"] * 10 + [""] * 3000, 1999, {"a": 10}),
    ],
)
def test_scenes_are_looked_at_until_every_kind_has_its_share(
    kinds: list[str], last: int, counts: dict[str, int]
) -> None:
    asked: list[int] = []
    chosen = balanced(_found(kinds, asked))
    assert asked[-1] == last
    assert Counter(kind for _, kind in chosen) == counts
    of_a = [int(contrast.caption) for contrast, kind in chosen if kind == "a"]
    assert of_a == list(range(counts.get("a", 0)))  # the first that have it


class Numbers:
    """Micro-batches of two latents; number ``n`` has the texts that it is given."""

    def __init__(self, texts: Sequence[Sequence[float]], num_batches: int | None) -> None:
        self.texts, self.num_batches = texts, num_batches

    def num_samples(self, number: int) -> int:
        return len(self.texts[number])

    def batch(self, number: int) -> LatentBatch:
        values = torch.tensor(self.texts[number % len(self.texts)]).view(-1, 1, 1)
        text = TextCondition(values, torch.ones(len(values), 1, dtype=torch.bool))
        return LatentBatch(torch.arange(len(values)).view(-1, 1, 1, 1) + 10.0 * number, text)


def test_captions_are_handed_on_by_one_and_what_stays_the_same_is_left_out() -> None:
    found = exchanged(Numbers([[1.0, 2.0, 3.0], [4.0, 4.0], [5.0], [6.0, 6.0, 7.0]], 4))
    assert [batch.latent.flatten().tolist() for batch in found] == [[0.0, 1.0, 2.0], [30.0, 32.0]]
    assert [batch.right.embeds.flatten().tolist() for batch in found] == [[1.0, 2.0, 3.0], [6.0, 7.0]]
    assert [batch.wrong.embeds.flatten().tolist() for batch in found] == [[3.0, 1.0, 2.0], [7.0, 6.0]]
    assert [batch.kinds for batch in found] == [(ANOTHER_CAPTION,) * 3, (ANOTHER_CAPTION,) * 2]


def test_no_more_than_48_samples_are_tested_on() -> None:
    assert len(exchanged(Numbers([[1.0, 2.0]], 100))) == 24
    assert len(exchanged(Numbers([[1.0, 2.0, 3.0, 4.0, 5.0]], None))) == 10  # the tenth begins below 48
    assert exchanged(Numbers([[1.0]], None)) == []  # of an endless stream without a pair 48 are enough
