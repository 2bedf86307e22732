"""The tangent of consistency distillation: exact where the student is, and what it teaches a small network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.sampling.trigflow import SIGMA_DATA, Field, consistency, trigflow
from sanakit.training.objectives.consistency import (
    ConsistencyConfig,
    premultiplied_change,
    sample_angles,
    scm_loss,
    tangent_of,
)

MEAN, DEVIATION = 0.3, 0.4  # of Gaussian data, over the unit deviation of noise
ANGLES = torch.linspace(0.05, 1.55, 16, dtype=torch.float64)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flow_velocity(latent: Tensor, sigma: Tensor) -> Tensor:
    sigma = sigma.reshape(-1, *[1] * (latent.ndim - 1))
    centred = (latent - (1 - sigma) * MEAN) / ((1 - sigma) ** 2 * DEVIATION**2 + sigma**2)
    return sigma * centred - (MEAN + (1 - sigma) * DEVIATION**2 * centred)


def exact(x: Tensor, angle: Tensor) -> Tensor:
    """Where the flow of that Gaussian ends."""
    cos, sin = (wave.reshape(-1, *[1] * (x.ndim - 1)) for wave in (angle.cos(), angle.sin()))
    spread = (cos**2 * DEVIATION**2 + sin**2).sqrt()
    return SIGMA_DATA * MEAN + DEVIATION / spread * (x - cos * SIGMA_DATA * MEAN)


def exact_field(u: Tensor, angle: Tensor) -> Tensor:
    """The field whose consistency function that is."""
    cos, sin = (wave.reshape(-1, *[1] * (u.ndim - 1)) for wave in (angle.cos(), angle.sin()))
    return (cos * SIGMA_DATA * u - exact(SIGMA_DATA * u, angle)) / (sin * SIGMA_DATA)


def tangent(field: Field, x: Tensor, direction: Tensor, warmup: float = 1.0) -> Tensor:
    change = premultiplied_change(field, x, ANGLES, direction)
    return tangent_of(field(x / SIGMA_DATA, ANGLES), change, x, ANGLES, direction, warmup=warmup)


def test_it_is_nothing_where_the_student_is_exact() -> None:
    x = SIGMA_DATA * drawn(16, 3)
    direction = SIGMA_DATA * trigflow(flow_velocity)(x / SIGMA_DATA, ANGLES)
    assert tangent(exact_field, x, direction).abs().max() < 1e-12


def test_it_is_the_change_of_the_consistency_function() -> None:
    """Of any field and direction, by a derivative of its own."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 3)).double().requires_grad_(False)

    def field(u: Tensor, angle: Tensor) -> Tensor:
        return layers(torch.cat([u, angle[:, None]], dim=1))

    x, direction = drawn(16, 3, seed=1), drawn(16, 3, seed=2)
    along = (direction, torch.ones_like(ANGLES))
    expected = ANGLES.cos()[:, None] * torch.func.jvp(consistency(field), (x, ANGLES), along)[1]
    torch.testing.assert_close(tangent(field, x, direction), expected, rtol=1e-10, atol=1e-12)
    h = 1e-5
    ahead, behind = (
        field((x + s * h * direction) / SIGMA_DATA, ANGLES + s * h) for s in (1, -1)
    )  # fmt: skip
    slope = (ANGLES.cos() * ANGLES.sin())[:, None] * (ahead - behind) / (2 * h)
    torch.testing.assert_close(premultiplied_change(field, x, ANGLES, direction), slope, rtol=1e-6, atol=1e-9)


def test_without_warm_up_it_is_the_distance_to_the_teacher() -> None:
    x, direction = drawn(16, 3), drawn(16, 3, seed=1)
    found = tangent(exact_field, x, direction, warmup=0.0)
    expected = ANGLES.cos()[:, None] ** 2 * (direction - SIGMA_DATA * exact_field(x / SIGMA_DATA, ANGLES))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("trained", [True, False])
def test_the_transformer_has_a_forward_mode(trained: bool) -> None:
    """With norms of queries and keys and a guidance scale, against a difference along the tangent; in float32 too,
    where kernels without one stand in the way."""
    torch.manual_seed(1)
    model = LinearDiT(LinearDiTConfig(
        hidden_size=32, num_layers=2, head_dim=16, cross_head_dim=16, in_channels=4, out_channels=4,
        caption_channels=8, sample_size=4, qk_norm=True, guidance_embeds=True, timestep_scale=0.001,
    )).requires_grad_(trained)  # fmt: skip
    text = TextCondition(drawn(2, 5, 8), torch.tensor([[True] * 5, [True] * 3 + [False] * 2]))
    narrow = field_in(model, TextCondition(text.embeds.float(), text.mask))
    field = field_in(copy.deepcopy(model).double(), text)
    x, direction, angle = drawn(2, 4, 4, 4), drawn(2, 4, 4, 4, seed=1), torch.tensor([0.4, 1.3]).double()
    with torch.no_grad():
        found = premultiplied_change(field, x, angle, direction)
        h = 1e-3  # the embedding of time is computed in float32
        ahead, behind = (field((x + s * h * direction) / SIGMA_DATA, angle + s * h) for s in (1, -1))
    slope = (angle.cos() * angle.sin())[:, None, None, None] * (ahead - behind) / (2 * h)
    torch.testing.assert_close(found, slope, rtol=1e-3, atol=3e-4)
    with torch.no_grad():
        in_float32 = premultiplied_change(narrow, x.float(), angle.float(), direction.float())
    torch.testing.assert_close(in_float32.double(), found, rtol=1e-3, atol=1e-4)


def field_in(model: LinearDiT, text: TextCondition) -> Field:
    condition = model.prepare(text).with_guidance(4.5)
    return trigflow(lambda latent, sigma: model(latent, 1000 * sigma, condition))


def test_the_loss_moves_the_student_against_the_normalised_tangent() -> None:
    """Its gradient in the field is ``-2 weight exp(-logvar) g / D``; the teacher has none; logvar has its own."""
    offset = torch.zeros(3, requires_grad=True)
    logvar = torch.full((), 0.3, requires_grad=True)
    config = ConsistencyConfig(tangent_warmup=1)

    def student(u: Tensor, angle: Tensor) -> Tensor:
        return torch.sin(u) + angle[:, None] + offset

    terms = scm_loss(
        student, trigflow(flow_velocity), lambda angle: logvar.expand(len(angle)), drawn(64, 3).float(),
        torch.Generator().manual_seed(3), config=config, step=5,
    )  # fmt: skip
    terms["loss"].backward()
    assert terms["tangent"].shape == terms["angle"].shape == (64,)
    assert offset.grad is not None
    assert offset.grad.abs().max() > 0
    weighted = float((terms["loss"].detach() - 0.3) * math.exp(0.3))  # mean of weight times error
    assert logvar.grad is not None
    assert float(logvar.grad) == pytest.approx(1 - weighted * math.exp(-0.3), rel=1e-3)
    best = math.log(weighted)  # where that gradient is nothing
    assert 1 - weighted * math.exp(-best) == pytest.approx(0, abs=1e-3)


def test_angles_are_drawn_as_published_and_never_end() -> None:
    angles = sample_angles(100_000, torch.Generator().manual_seed(0), mean=0.2, std=1.6)
    assert 1e-3 <= float(angles.min()) < float(angles.max()) < math.pi / 2
    rho = (SIGMA_DATA * angles[angles > 2e-3].double().tan()).log()
    assert (float(rho.mean()), float(rho.std())) == (pytest.approx(0.2, abs=0.02), pytest.approx(1.6, abs=0.02))


@pytest.mark.parametrize("field", ["logit_std", "tangent_floor", "tangent_warmup"])
def test_settings_that_cannot_work(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field}=0"):
        ConsistencyConfig(**{field: 0})


def test_a_small_network_learns_to_end_in_one_step() -> None:
    """From the weights of its teacher's flow: the error of one step falls by far in few hundred updates."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)

    def data(num: int) -> Tensor:
        return MEAN + DEVIATION * torch.randn(num, 4, generator=generator)

    net = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 4))

    def field_of(network: nn.Module) -> Field:
        return lambda u, t: network(torch.cat([u, t.cos()[:, None], t.sin()[:, None]], dim=1))

    teacher = trigflow(flow_velocity)
    train(net, lambda: fitted(field_of(net), teacher, data(128), generator), steps=250, rate=3e-3)
    before = one_step_error(field_of(net))
    logvar = nn.Parameter(torch.zeros(()))
    student, steps = copy.deepcopy(net), iter(range(10_000))
    config = ConsistencyConfig(tangent_warmup=60)
    train(
        nn.ModuleList([student, nn.ParameterList([logvar])]),
        lambda: scm_loss(
            field_of(student), teacher, lambda t: logvar.expand(len(t)), data(128), generator, config=config,
            step=next(steps),
        )["loss"],
        steps=300, rate=1e-3,
    )  # fmt: skip
    after = one_step_error(field_of(student))
    assert after < before / 2.5


def fitted(field: Field, teacher: Field, latent: Tensor, generator: torch.Generator) -> Tensor:
    angle = sample_angles(len(latent), generator, mean=0.2, std=1.6)
    noise = torch.randn(latent.shape, generator=generator)
    u = angle.cos()[:, None] * latent + angle.sin()[:, None] * noise
    return F.mse_loss(field(u, angle), teacher(u, angle))


def one_step_error(field: Field) -> float:
    z = drawn(4096, 4, seed=9).float()
    angle = torch.full((4096,), math.pi / 2)
    with torch.no_grad():
        found = consistency(field)(SIGMA_DATA * z, angle)
        return float((found - exact(SIGMA_DATA * z, angle)).square().mean().sqrt())


def train(model: nn.Module, loss: Callable[[], Tensor], *, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
