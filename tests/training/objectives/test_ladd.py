"""Adversarial distillation: the judge's losses, what it is shown, and heads whose numbers depend on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.sampling.trigflow import MAX_ANGLE
from sanakit.training.objectives.consistency import ConsistencyConfig
from sanakit.training.objectives.ladd import AdversarialConfig, Draws, adversarial_loss, judging_loss
from sanakit.training.objectives.ladd_heads import Heads, LocalNorm, SpectralConv


def draws(seed: int = 0, **changes: object) -> Draws:
    config = replace(AdversarialConfig(), **changes)  # type: ignore[arg-type]
    return Draws(generator=torch.Generator().manual_seed(seed), config=config, angles=ConsistencyConfig())


def nothing(u: Tensor, angle: Tensor) -> Tensor:
    return torch.zeros_like(u)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("judgements", "expected"), [((2.0, -2.0), 0.0), ((0.0, 0.0), 1.0), ((-1.0, 1.0), 2.0)])
def test_the_hinge(judgements: tuple[float, float], expected: float) -> None:
    """Of a judge who says the one of data and the other of all else."""
    said = iter([judgements[0], judgements[1], judgements[1]])
    terms = judging_loss(nothing, lambda u, t: torch.full((4, 7), next(said)), drawn(4, 2, 3, 3), draws())
    assert float(terms["loss"]) == expected
    assert (float(terms["real"]), float(terms["made"])) == judgements


@pytest.mark.parametrize(("batch", "misaligned", "shown"), [(1, True, 2), (4, True, 3), (4, False, 2)])
def test_what_the_judge_is_shown(batch: int, misaligned: bool, shown: int) -> None:
    """Data, what the student made, and data beside the text of its neighbour, each at its own level of noise."""
    seen: list[tuple[Tensor, Tensor]] = []

    def judge(u: Tensor, angle: Tensor) -> Tensor:
        seen.append((u, angle))
        return torch.zeros(len(u), 5)

    latent = 1e3 * drawn(batch, 2, 3, 3)  # noise is small beside it
    judging_loss(nothing, judge, latent, draws(misaligned=misaligned))
    assert len(seen) == shown
    assert torch.equal(seen[0][1], seen[1][1])
    for (u, angle), pictures in zip(seen[::2], (latent, latent.roll(1, 0)), strict=False):
        ratio = (u / pictures).flatten(1).median(dim=1).values
        torch.testing.assert_close(ratio, angle.cos(), rtol=0.05, atol=0.02)


def test_the_student_begins_at_noise_as_often_as_is_said() -> None:
    angles = draws(noise_share=0.5).begun(torch.empty(100_000, 1))
    at_noise = angles == MAX_ANGLE
    assert float(at_noise.float().mean()) == pytest.approx(0.5, abs=0.005)
    assert angles.dtype == torch.float32
    assert float(angles[~at_noise].max()) < MAX_ANGLE
    assert not (draws(noise_share=0.0).begun(torch.empty(1000, 1)) == MAX_ANGLE).any()


def test_only_the_student_learns_from_its_loss_and_only_the_judge_from_the_judges() -> None:
    torch.manual_seed(0)
    student, judge = nn.Linear(3, 3), nn.Linear(3, 1)
    latent = drawn(6, 3)
    fields = (lambda u, t: student(u)), (lambda u, t: judge(u))
    judging_loss(*fields, latent, draws())["loss"].backward()
    assert student.weight.grad is None
    assert judge.weight.grad is not None
    adversarial_loss(*fields, latent, draws()).backward()
    assert student.weight.grad is not None
    assert student.weight.grad.any()


@pytest.mark.parametrize("tokens", [2, 9, 20])
def test_the_convolution_has_one_as_its_greatest_singular_value_and_no_edge(tokens: int) -> None:
    torch.manual_seed(0)
    conv = SpectralConv(6, 6, 9)
    for _ in range(50):
        conv.iterate()
    x = drawn(2, 6, tokens)
    found = conv(x)
    expected = conv.weight / torch.linalg.matrix_norm(conv.weight.flatten(1), ord=2)
    around = x.repeat(1, 1, 11)[..., 5 * tokens - 4 : 6 * tokens + 4]
    torch.testing.assert_close(found, nn.functional.conv1d(around, expected, conv.bias), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(conv(x.roll(1, 2)), found.roll(1, 2), rtol=1e-4, atol=1e-5)


def test_norms_see_a_few_samples_whatever_the_batch() -> None:
    norm, x = LocalNorm(5, virtual_batch=4), drawn(8, 5, 7)
    torch.testing.assert_close(norm(x), torch.cat([norm(x[:4]), norm(x[4:])]))
    expected = nn.functional.batch_norm(x[:4], None, None, training=True)
    torch.testing.assert_close(norm(x)[:4], expected)
    assert norm(drawn(7, 5, 7)).shape == (7, 5, 7)  # the last micro-batch of an epoch divides by nothing
    assert norm(drawn(1, 5, 1)).isfinite().all()


def test_heads_move_their_own_state_once_a_step() -> None:
    """So that accumulation, several processes and a step that is made again give the same numbers."""
    torch.manual_seed(0)
    heads = Heads(6, 2, AdversarialConfig())
    features = [drawn(4, 9, 6), drawn(4, 9, 6, seed=1)]
    before = heads(features)
    assert before.shape == (4, 18)
    assert torch.equal(heads(features), before)
    with torch.no_grad():
        heads.get_parameter("heads.0.mix.weight").mul_(drawn(6, 6, 9, seed=2))
    first = heads(features, 3)
    assert torch.equal(heads(features, 3), first)
    assert torch.equal(heads(features), first)
    assert not torch.equal(heads(features, 4), first)


def test_blocks_with_a_head() -> None:
    assert AdversarialConfig().blocks_of(20) == (2, 8, 14, 19)
    assert AdversarialConfig().blocks_of(2) == (0, 1)
    assert AdversarialConfig(blocks=(0, 3)).blocks_of(4) == (0, 3)
    with pytest.raises(ConfigError, match=r"blocks=\[2, 8, 14, 20\] names a block that the teacher has not: it has 20"):
        AdversarialConfig(blocks=(2, 8, 14, 20)).blocks_of(20)


@pytest.mark.parametrize(
    "change", [{"weight": -1.0}, {"noise_share": 1.5}, {"kernel": 4}, {"virtual_batch": 0}, {"blocks": (3, 1)}]
)
def test_settings_that_cannot_work(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        AdversarialConfig(**change)  # type: ignore[arg-type]
