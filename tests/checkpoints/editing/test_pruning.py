"""Which blocks stay."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from sanakit.checkpoints.editing.pruning import blocks_to_keep
from sanakit.common.errors import RequestError


@pytest.mark.parametrize("num_layers", [1, 3, 6])
@pytest.mark.parametrize(("keep_first", "keep_last"), [(0, 0), (1, 0), (0, 1)])
def test_no_other_choice_keeps_more(num_layers: int, keep_first: int, keep_last: int) -> None:
    importance = torch.rand(7, generator=torch.Generator().manual_seed(num_layers)).tolist()
    certain = {*range(keep_first), *range(7 - keep_last, 7)}
    choices = [choice for choice in combinations(range(7), num_layers) if certain <= set(choice)]
    best = max(choices, key=lambda choice: sum(importance[index] for index in choice))
    assert blocks_to_keep(importance, num_layers, keep_first=keep_first, keep_last=keep_last) == best


def test_of_equals_the_earlier_stays() -> None:
    assert blocks_to_keep([0.5, 0.1, 0.1, 0.1, 0.9], 3) == (0, 1, 4)


@pytest.mark.parametrize(("num_layers", "limits"), [
    (7, {}), (0, {}), (8, {}), (2, {"keep_first": 3}), (3, {"keep_first": 2, "keep_last": 2}), (3, {"keep_last": -1}),
])  # fmt: skip
def test_what_cannot_be_is_said(num_layers: int, limits: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="cannot"):
        blocks_to_keep([0.1] * 7, num_layers, **limits)
