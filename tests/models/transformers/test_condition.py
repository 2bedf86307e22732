"""Rows of conditions: put together, padded, perturbed."""

from __future__ import annotations

import pytest
import torch

from sanakit.common.errors import ShapeError
from sanakit.models.transformers.condition import Condition


def condition(batch: int = 1, length: int = 3, seed: int = 0) -> Condition:
    """Of a network with two blocks."""
    g = torch.Generator().manual_seed(seed)
    keys, values = (tuple(torch.randn(batch, 2, length, 4, generator=g) for _ in range(2)) for _ in range(2))
    return Condition(keys=keys, values=values, mask=torch.rand(batch, 1, 1, length, generator=g) < 0.7)


def test_rows_one_after_the_other_and_padding_that_nobody_sees() -> None:
    parts = [condition(2, 3, seed=1), condition(1, 5, seed=2)]
    joined = Condition.cat(parts)
    assert (joined.batch_size, joined.text_length) == (3, 5)
    for block in range(2):
        for name in ("keys", "values"):
            first, second = (getattr(part, name)[block] for part in parts)
            assert torch.equal(getattr(joined, name)[block][:2, :, :3], first)
            assert torch.equal(getattr(joined, name)[block][2:], second)
    assert torch.equal(joined.mask[:2, ..., :3], parts[0].mask)
    assert not joined.mask[:2, ..., 3:].any()
    assert joined.perturbed == {}
    assert joined.guidance is None


def test_a_text_that_is_long_enough_is_left_alone() -> None:
    one = condition(1, 3)
    assert one.pad(3) is one.pad(2) is one
    assert one.pad(4).text_length == 4


def test_rows_are_perturbed_in_layers_of_their_own() -> None:
    one, two = condition(), condition(2)
    rows = Condition.cat([one.perturb([0]), two, one.perturb([0, 1])]).perturbed
    assert {layer: each.tolist() for layer, each in rows.items()} == {
        0: [True, False, False, True],
        1: [False, False, False, True],
    }
    assert one.perturbed == {}


def test_a_guidance_scale_belongs_to_all_rows_or_to_none() -> None:
    one = condition()
    scales = Condition.cat([one.with_guidance(4.5), condition(2).with_guidance(2.0)]).guidance
    assert scales is not None
    assert scales.tolist() == [4.5, 2.0, 2.0]
    with pytest.raises(ShapeError, match="with and without a guidance scale"):
        Condition.cat([one.with_guidance(4.5), one])
