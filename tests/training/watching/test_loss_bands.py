"""Losses by band of noise, against a plain loop."""

from __future__ import annotations

import json

import pytest
import torch

from sanakit.training.watching.loss_bands import LossBuckets


def test_bands_are_means_of_their_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    sigma = torch.rand(200, generator=generator) * 0.7  # no sample above 0.7
    loss = torch.rand(200, generator=generator)
    buckets = LossBuckets()
    for start in range(0, 200, 40):
        buckets.add(sigma[start : start + 40], loss[start : start + 40])
    found = buckets.take()
    assert len(found) == 7
    for band in range(7):
        own = [x for s, x in zip(sigma.tolist(), loss.tolist(), strict=True) if band <= s * 10 < band + 1]
        name = f"loss/sigma_{band / 10:.1f}-{(band + 1) / 10:.1f}"
        assert found[name] == pytest.approx(sum(own) / len(own), rel=1e-5)
    assert buckets.take() == {}


def test_the_ends_belong_to_the_outer_bands() -> None:
    buckets = LossBuckets()
    buckets.add(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0], requires_grad=True))
    assert buckets.take() == {"loss/sigma_0.0-0.1": 2.0, "loss/sigma_0.9-1.0": 3.0}


def test_a_continued_count_is_the_same_to_the_bit() -> None:
    whole, first = LossBuckets(), LossBuckets()
    parts = [torch.rand(2, 7, generator=torch.Generator().manual_seed(n)) for n in range(2)]
    for sigma, loss in parts:
        whole.add(sigma, loss)
    first.add(*parts[0])
    second = LossBuckets(json.loads(json.dumps(first.numbers)))
    second.add(*parts[1])
    assert second.take() == whole.take()
    assert LossBuckets(LossBuckets().numbers).take() == {}
