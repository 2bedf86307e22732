"""Flow matching: the drawn noise levels, the loss in closed form, the dropped captions."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.models.text.text_condition import TextCondition
from sanakit.training.objectives.flow_matching import (
    FlowMatchingConfig,
    drop_captions,
    flow_matching_loss,
    sample_sigmas,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shift", [1, 3, 4, 6])
def test_every_level_of_the_table_has_its_truncated_time(shift: int) -> None:
    """Against exact fractions; some levels, such as 100 with shift 3, fall on a whole time."""
    sigma, timestep = sample_sigmas(40_000, generator(), FlowMatchingConfig(flow_shift=shift, weighting="uniform"))
    index = (1000 * sigma / (shift - (shift - 1) * sigma)).round().int().tolist()  # the shift undone
    exact = [Fraction(shift * i, 1000 + (shift - 1) * i) for i in range(1000)]
    assert set(index) == set(range(1000))
    assert timestep.int().tolist() == [int(1000 * exact[i]) for i in index]
    torch.testing.assert_close(sigma, torch.tensor([float(exact[i]) for i in index]), rtol=3e-7, atol=0)
    if shift == 3:  # spec anchors
        times = dict(zip(index, timestep.tolist(), strict=True))
        assert [times[i] for i in (0, 1, 500, 999)] == [0, 2, 750, 999]


@pytest.mark.parametrize(
    ("weighting", "mean", "std"), [("logit_normal", 0.0, 1.0), ("logit_normal", 0.5, 0.7), ("uniform", 0, 1)]
)
@pytest.mark.parametrize("num_levels", [None, 1000])
def test_the_density_of_noise_levels(weighting: str, mean: float, std: float, num_levels: int | None) -> None:
    """Chi-square over 20 equal bins of the unshifted level; its 0.1 % point for 19 degrees of freedom is 43.8."""
    count, bins, shift = 100_000, 20, 3.0
    config = FlowMatchingConfig(
        flow_shift=shift, weighting=weighting, logit_mean=mean, logit_std=std, num_levels=num_levels
    )
    sigma, timestep = sample_sigmas(count, generator(), config)
    u = (sigma / (shift - (shift - 1) * sigma)).double()
    observed = torch.histc(u + 1e-6, bins=bins, min=0, max=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    below = torch.special.ndtr((torch.logit(edges) - mean) / std) if weighting == "logit_normal" else edges
    expected = count * below.diff()
    assert ((observed - expected).square() / expected).sum() < 43.8
    assert (timestep - 1000 * sigma).abs().max() < (1e-3 if num_levels is None else 1.001)


@pytest.mark.parametrize("shape", [(3, 7), (3, 4, 5, 6), (3, 4, 2, 5, 6)], ids=["tokens", "pictures", "videos"])
def test_the_true_velocity_has_no_loss_and_an_offset_its_square(shape: tuple[int, ...]) -> None:
    """``noisy = latent + sigma * velocity`` gives the velocity back; then everyone is off by 0.3, one sample by 0.5."""
    latent = torch.randn(shape, generator=generator(9))
    offset = torch.tensor([0.3, 0.3, 0.5]).view(-1, *[1] * (len(shape) - 1))

    def true_velocity(noisy: Tensor, timestep: Tensor) -> Tensor:
        return (noisy - latent) / (timestep / 1000).view(offset.shape)

    def shifted(noisy: Tensor, timestep: Tensor) -> Tensor:
        return true_velocity(noisy, timestep) + offset

    config = FlowMatchingConfig(num_levels=None)
    assert flow_matching_loss(true_velocity, latent, generator(), config=config)["loss"] < 1e-9
    terms = flow_matching_loss(shifted, latent, generator(), config=config)
    torch.testing.assert_close(terms["per_sample"], torch.tensor([0.09, 0.09, 0.25]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms["loss"], torch.tensor(0.43 / 3), rtol=1e-4, atol=1e-6)


def test_no_velocity_costs_the_power_of_noise_and_latent() -> None:
    latent, config = torch.randn(3, 4, 5, 6, generator=generator(9)), FlowMatchingConfig()
    terms = flow_matching_loss(lambda noisy, _: torch.zeros_like(noisy), latent, generator(3), config=config)
    again = generator(3)
    sigma, _ = sample_sigmas(3, again, config)
    noise = torch.randn(latent.shape, generator=again)
    assert torch.equal(terms["sigma"], sigma)
    torch.testing.assert_close(terms["per_sample"], (noise - latent).square().mean((1, 2, 3)))


def test_captions_are_dropped_whole_at_their_rate() -> None:
    count = 4000
    text = TextCondition(torch.ones(count, 5, 2), torch.ones(count, 5, dtype=torch.bool))
    null = TextCondition(torch.full((1, 3, 2), -1.0), torch.tensor([[True, True, False]]))
    found = drop_captions(text, null, generator(), 0.1)
    dropped = found.embeds[:, 0, 0] == -1
    assert abs(int(dropped.sum()) - 400) < 4 * (4000 * 0.1 * 0.9) ** 0.5
    assert (found.mask[dropped] == torch.tensor([True, True, False, False, False])).all()
    assert (found.embeds[dropped, :3] == -1).all()
    assert found.mask[~dropped].all()
    assert (found.embeds[~dropped] == 1).all()
    assert text.mask.all()
    assert (text.embeds == 1).all()


def test_captions_stay_or_go_at_the_ends_of_the_rate() -> None:
    text = TextCondition(torch.ones(3, 2, 2), torch.ones(3, 2, dtype=torch.bool))
    null = TextCondition(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool))
    assert torch.equal(drop_captions(text, null, generator(), 0.0).embeds, text.embeds)
    assert drop_captions(text, null, generator(), 1.0).mask.sum(-1).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "wrong", [{"flow_shift": 0.0}, {"flow_shift": float("nan")}, {"logit_std": -1.0}, {"num_levels": 0}], ids=str
)
def test_configs_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        FlowMatchingConfig(**wrong)
