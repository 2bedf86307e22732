from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.controlnet import ControlNet, ControlNetConfig, Topology
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

CONFIG = LinearDiTConfig(
    hidden_size=32, num_layers=4, head_dim=8, cross_head_dim=8, in_channels=4, out_channels=4, caption_channels=6
)


@pytest.fixture
def base() -> LinearDiT:
    torch.manual_seed(0)
    return LinearDiT(CONFIG).eval().requires_grad_(False)


def text(rows: int, length: int) -> TextCondition:
    return TextCondition(torch.randn(rows, length, 6), torch.ones(rows, length, dtype=torch.bool))


@torch.no_grad()
def nudged(net: ControlNet) -> ControlNet:
    for layer in (net.before, *net.after):
        layer.weight.normal_(std=0.2)
    return net.eval()


@pytest.mark.parametrize("topology", ["upstream", "diffusers"])
@torch.no_grad()
def test_copies_change_nothing_until_they_have_learned(base: LinearDiT, topology: Topology) -> None:
    net = ControlNet.copied(base, 2, topology)
    for mine, theirs in zip(net.units, base.units, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    words, latent, time = text(2, 3), torch.randn(2, 4, 4, 6), torch.tensor([900.0, 20.0])
    plain = base.prepare(words)
    told = replace(plain, controls=(net.prepare(words, torch.randn(1, 4, 4, 6), base),))
    assert torch.equal(base(latent, time, told), base(latent, time, plain))
    told = replace(plain, controls=(nudged(net).prepare(words, torch.randn(1, 4, 4, 6), base),))
    assert not torch.allclose(base(latent, time, told), base(latent, time, plain), atol=1e-3)


@pytest.mark.parametrize("topology", ["upstream", "diffusers"])
@torch.no_grad()
def test_rows_together_are_as_rows_alone(base: LinearDiT, topology: Topology) -> None:
    """Pictures, scales and lengths of text are each row's own; two networks add up."""
    nets = [nudged(ControlNet.copied(base, layers, topology)) for layers in (2, 3)]
    latents, times, parts = torch.randn(3, 4, 4, 4), torch.tensor([900.0, 500.0, 20.0]), []
    for row, length in enumerate((2, 5, 3)):
        words = text(1, length)
        controls = tuple(net.prepare(words, torch.randn(1, 4, 4, 4), base, scale=0.3 + row) for net in nets)
        parts.append(replace(base.prepare(words), controls=controls))
    together = base(latents, times, Condition.cat(parts))
    for row, part in enumerate(parts):
        alone = base(latents[row : row + 1], times[row : row + 1], part)
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)
    one = replace(parts[0], controls=parts[0].controls[:1])
    with pytest.raises(ShapeError, match="different side networks"):
        Condition.cat([one, parts[1]])
    with pytest.raises(ShapeError, match="does not fit a latent"):
        base(torch.randn(1, 4, 8, 4), times[:1], one)


@torch.no_grad()
def test_it_runs_in_the_dtype_of_the_transformer(base: LinearDiT) -> None:
    words, latent, time = text(1, 3), torch.randn(1, 4, 4, 4), torch.tensor([500.0])
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        net = nudged(ControlNet.copied(base.float(), 2)).to(dtype)
        network = base.to(dtype)
        told = replace(network.prepare(words), controls=(net.prepare(words, latent, network, scale=0.5),))
        found.append(network(latent.to(dtype), time, told))
    assert found[1].dtype == torch.bfloat16
    assert found[1].isfinite().all()


@torch.no_grad()
def test_a_control_acts_in_its_part_of_the_steps(base: LinearDiT) -> None:
    words = text(1, 2)
    control = ControlNet.copied(base, 2).prepare(words, torch.randn(1, 4, 4, 4), base)
    told = replace(base.prepare(words), controls=(replace(control, interval=(0.2, 0.6)),))
    acting = [told.controls[0].acts_in(step, 10) for step in range(10)]
    assert acting == [False, False, True, True, True, True, False, False, False, False]
    assert all(control.acts_in(step, 7) for step in range(7))
    assert told.only([True]).controls == told.controls
    assert not told.only([False]).controls


def test_what_does_not_fit_is_refused(base: LinearDiT) -> None:
    fields = {name: getattr(CONFIG, name) for name in LinearDiTConfig.__dataclass_fields__}
    with pytest.raises(ConfigError, match="has 4 blocks and needs a transformer of more"):
        ControlNetConfig(**fields).check_beside(CONFIG)
    wide = ControlNetConfig(**{**fields, "num_layers": 2, "hidden_size": 64})
    with pytest.raises(ConfigError, match="made for hidden_size=64 and the model has 32"):
        wide.check_beside(CONFIG)
    with pytest.raises(ConfigError, match="it is upstream or diffusers"):
        ControlNetConfig(**{**fields, "topology": "mine"})
