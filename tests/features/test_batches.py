"""Texts of many lengths in one piece of memory are those that went in, padded by zeros."""

from __future__ import annotations

import pytest
import torch

from sanakit.features.batches import TextRows


@pytest.mark.parametrize("length", [None, 7])
def test_a_batch_holds_each_text_and_zeros(length: int | None) -> None:
    texts = [torch.randn(n, 4, generator=torch.Generator().manual_seed(n)).bfloat16() for n in (3, 1, 5, 2)]
    rows = TextRows(torch.cat(texts), torch.tensor([3, 1, 5, 2]))
    found = rows.batch(torch.tensor([3, 0, 3]), length)
    assert found.embeds.shape == (3, length or 3, 4)
    assert found.embeds.dtype == torch.float32
    for row, number in enumerate((3, 0, 3)):
        num = len(texts[number])
        assert torch.equal(found.embeds[row, :num], texts[number].float())
        assert not found.embeds[row, num:].any()
        assert found.mask[row].tolist() == [place < num for place in range(length or 3)]
