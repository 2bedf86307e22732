"""Standard text states: what is trained on them, folded, is the same network on the states as they come."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.features.batches import LatentBatch
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.step import standard_text
from sanakit.training.step.standard_text import StandardText, standardised

SCALES = torch.logspace(-1, 1.3, 32)


@dataclass(frozen=True, slots=True)
class Captions:
    """States with a mean and a size of their own in each channel; what lies on padding must not count."""

    num_batches: int | None = None

    def num_samples(self, number: int) -> int:
        return 8

    def batch(self, number: int) -> LatentBatch:
        g = torch.Generator().manual_seed(number)
        mask = torch.arange(6) < torch.randint(1, 7, (8, 1), generator=g)
        embeds = torch.randn(8, 6, 32, generator=g) * SCALES + 3 * SCALES.flip(0)
        embeds[..., 5] = 2.0  # a channel that never moves
        return LatentBatch(torch.zeros(8, 4, 2, 2), TextCondition(embeds.masked_fill(~mask[..., None], 1e4), mask))


@pytest.fixture
def standard(monkeypatch: pytest.MonkeyPatch) -> StandardText:
    monkeypatch.setattr(standard_text, "NUM_CAPTIONS", 256)
    standard = StandardText(32)
    standard.measure(Captions())
    return standard


def velocity(network: LinearDiT, text: TextCondition) -> Tensor:
    g = torch.Generator().manual_seed(1)
    latent = torch.randn(len(text.mask), 4, 4, 4, generator=g)
    return network(latent, torch.full((len(latent),), 500.0), network.prepare(text))


def test_every_channel_has_mean_0_and_deviation_1(standard: StandardText) -> None:
    text = Captions().batch(1000).text
    moving = [channel for channel in range(32) if channel != 5]
    states = standardised(text, standard.mean, standard.deviation).embeds[text.mask]
    assert states.isfinite().all()
    assert states[:, 5].abs().max() < 1e-2
    assert states[:, moving].mean(dim=0).abs().max() < 1  # a small sample: its scatter
    assert 0.7 < states[:, moving].std(dim=0).mean() < 1.3
    again = StandardText(32)
    again.measure(Captions())
    assert torch.equal(again.mean, standard.mean)


@torch.no_grad()
def test_folded_it_reads_the_states_as_they_come(tiny_bundle: ModelBundle, standard: StandardText) -> None:
    trained, shipped = tiny_bundle.transformer, LinearDiT(tiny_bundle.transformer.config)
    shipped.load_state_dict(standard.fold(trained.state_dict()))
    text = Captions().batch(1000).text
    text = TextCondition(text.embeds * text.mask[..., None], text.mask)
    expected = velocity(trained, standardised(text, standard.mean, standard.deviation))
    assert torch.allclose(velocity(shipped, text), expected, atol=1e-4)
    assert not torch.allclose(velocity(trained, text), expected, atol=1e-2)
    standard.unfold_(shipped)
    for name, tensor in trained.state_dict().items():
        assert torch.allclose(shipped.state_dict()[name], tensor, atol=1e-3), name
