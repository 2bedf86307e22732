"""Right captions against wrong ones, on networks whose reading is known exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sanakit.models.text.text_condition import TextCondition
from sanakit.training.objectives.caption_gap import caption_gaps, noise_levels, wins
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, Velocity

NUM = 64
WORDS = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(0))  # the picture of each word
CONFIG = FlowMatchingConfig(flow_shift=2.0)


def caption(words: Tensor) -> TextCondition:
    """One token that is the number of a word."""
    return TextCondition(words.float()[:, None, None], torch.ones(len(words), 1, dtype=torch.bool))


def reader(text: TextCondition) -> Velocity:
    """The exact velocity towards the picture of the word."""
    pictures = WORDS[text.embeds[:, 0, 0].long()]
    return lambda noisy, timestep: (noisy - pictures) / (timestep / 1000).view(-1, 1, 1, 1)


def blind(text: TextCondition) -> Velocity:
    return reader(caption(torch.zeros(len(text.mask))))


def mirrored(text: TextCondition) -> Velocity:
    """Takes each word for the one that the test puts in its place."""
    return reader(caption((text.embeds[:, 0, 0] + 1) % 2))


@pytest.mark.parametrize(("network", "share"), [(reader, 1.0), (blind, 0.5), (mirrored, 0.0)])
def test_a_reader_always_wins_a_blind_network_ties_and_a_mirrored_one_loses(network: object, share: float) -> None:
    words = torch.arange(NUM) % 2
    generator = torch.Generator().manual_seed(3)
    captions = (caption(words), caption(1 - words))
    gaps = caption_gaps(network, WORDS[words], captions, generator, config=CONFIG)  # type: ignore[arg-type]
    won, number = wins(gaps, ["thing"] * NUM)["thing"]
    assert (won / number, number) == (share, NUM)
    if share == 0.5:
        assert gaps.eq(0).all()  # the noise of both is the same


def test_the_gap_is_the_mean_over_the_levels() -> None:
    """With the right word the loss is 0, with the wrong one the distance of the pictures over the level, squared."""
    words = torch.tensor([0, 3])
    wrong = torch.tensor([1, 4])
    gaps = caption_gaps(
        reader, WORDS[words], (caption(words), caption(wrong)), torch.Generator().manual_seed(0), config=CONFIG
    )
    distance = (WORDS[words] - WORDS[wrong]).square().flatten(1).mean(dim=1)
    scale = sum(level**-2 for level in noise_levels(CONFIG)) / 4
    assert torch.allclose(gaps, scale * distance.double(), rtol=1e-4)
    assert noise_levels(FlowMatchingConfig(flow_shift=1.0)) == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_kinds_are_counted_apart() -> None:
    gaps = torch.tensor([1.0, -1.0, 0.0, 2.0], dtype=torch.float64)
    assert wins(gaps, ["thing", "thing", "colour", "colour"]) == {"thing": (1.0, 2), "colour": (1.5, 2)}
