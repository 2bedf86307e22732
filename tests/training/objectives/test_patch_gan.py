"""PatchGAN: what a patch sees, whom its norm looks at, and the losses in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sanakit.common.errors import ConfigError
from sanakit.training.objectives.patch_gan import (
    PatchDiscriminator,
    PatchGANConfig,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
)


@pytest.mark.parametrize(("num_layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_judgement_sees_its_patch(num_layers: int, field: int) -> None:
    """The receptive fields of the PatchGAN paper: every pixel of the patch and none outside has a gradient."""
    network = PatchDiscriminator(PatchGANConfig(num_layers=num_layers, channels=8, norm="none")).double()
    pixels = torch.rand(1, 3, 128, 128, dtype=torch.float64).requires_grad_()
    out = network(pixels)
    assert out.shape == (1, 1, 128 // 2**num_layers - 2, 128 // 2**num_layers - 2)
    out[0, 0, out.shape[2] // 2, out.shape[3] // 2].backward()
    assert pixels.grad is not None
    rows, columns = pixels.grad[0].abs().sum(0).nonzero(as_tuple=True)
    assert rows.unique().numel() == columns.unique().numel() == field


@pytest.mark.parametrize("norm", ["group", "spectral", "none"])
def test_a_picture_is_judged_alone(norm: Any) -> None:
    network = PatchDiscriminator(PatchGANConfig(channels=8, norm=norm)).eval()
    pixels = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(network(pixels)[:1], network(pixels[:1]))


def test_spectral_norm_bounds_every_matrix() -> None:
    network = PatchDiscriminator(PatchGANConfig(num_layers=2, channels=8, norm="spectral"))
    for _ in range(60):
        network(torch.rand(1, 3, 32, 32))  # power iterations
    network.eval()
    norms = [torch.linalg.matrix_norm(m.weight.flatten(1), 2) for m in network.layers if hasattr(m, "weight")]
    assert len(norms) == 4
    torch.testing.assert_close(torch.stack(norms), torch.ones(4), rtol=0.02, atol=0)


def test_hinges() -> None:
    real, made = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.0])
    torch.testing.assert_close(discriminator_loss(real, made), torch.tensor((2.5 / 3 + 0.5) / 2))
    torch.testing.assert_close(generator_loss(made), torch.tensor(1.0))


def test_the_adaptive_weight_balances_gradients() -> None:
    layer = torch.tensor([1.0, 2.0], requires_grad=True)
    reconstruction, adversarial = (layer * torch.tensor([3.0, 4.0])).sum(), 0.5 * layer[0]
    weight = adaptive_weight(reconstruction, adversarial, layer)
    assert float(weight) == pytest.approx(5 / 0.5001)
    assert not weight.requires_grad
    assert float(adaptive_weight(reconstruction, 0 * layer.sum(), layer)) == 10_000
    (reconstruction + weight * adversarial).backward()  # the graph is still there


@pytest.mark.parametrize(
    "wrong",
    [{"num_layers": 0}, {"channels": 12}, {"weight": 0.0}, {"start_step": -1}, {"weight": float("nan")}],
    ids=str,
)
def test_configs_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="gan"):
        PatchGANConfig(**wrong)
