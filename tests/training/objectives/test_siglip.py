"""The sigmoid loss against its definition, pair by pair in plain Python."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sanakit.common.errors import ShapeError
from sanakit.training.objectives.siglip import siglip_loss, within_families_loss


def test_matches_the_definition() -> None:
    g = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(5, 7, generator=g, dtype=torch.float64)
    labels = torch.randint(-1, 2, (5, 7), generator=g)
    expected = 0.0
    for i in range(5):
        for j in range(7):
            label = int(labels[i, j])
            if label:
                expected -= math.log(1 / (1 + math.exp(-label * float(logits[i, j])))) / 5
    assert float(siglip_loss(logits, labels)) == pytest.approx(expected, rel=1e-12)


def test_gradient_is_the_error_of_each_answer() -> None:
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 4, generator=g, dtype=torch.float64, requires_grad=True)
    labels = 2 * torch.eye(4, dtype=torch.int8) - 1
    labels[1, 2] = 0
    siglip_loss(logits, labels).backward()
    truth = (labels > 0).double()
    expected = (torch.sigmoid(logits.detach()) - truth) / 4
    expected[1, 2] = 0
    torch.testing.assert_close(logits.grad, expected)


def test_the_papers_start_is_mostly_certain_that_nothing_matches() -> None:
    """Bias -10 and scale 10 with unrelated vectors: log 2 at most per negative is far off, the positive costs 10."""
    labels = 2 * torch.eye(64) - 1
    loss = float(siglip_loss(torch.full((64, 64), -10.0), labels))
    assert loss == pytest.approx(10.0 + 63 * math.exp(-10.0), abs=1e-3)


def test_large_logits_stay_finite() -> None:
    assert float(siglip_loss(torch.tensor([[1e4]]), torch.tensor([[-1]]))) == pytest.approx(1e4)


def test_labels_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match="each pair"):
        siglip_loss(torch.zeros(3, 3), torch.zeros(3, 2))


def test_within_families_only_wrong_pairs_compete() -> None:
    logits = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, -1, -1, -1], [0, 1, -1, -1], [-1, -1, 1, 0], [-1, -1, 0, 1]], dtype=torch.int8)
    first, second = logits[0, 0] - logits[0, 1], logits[1, 1] - logits[0, 1]
    expected = (F.softplus(-first) + F.softplus(-second)) / 4  # of the second family nothing is asked
    torch.testing.assert_close(within_families_loss(logits, labels, 2), expected)
