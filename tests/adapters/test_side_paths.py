"""Side paths: the network with them is the network with changed weights, row by row, and without them the old one."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from side_paths import KINDS, TINY, adapter, draw, network
from torch import Tensor

from sanakit.adapters.adapter import Adapter, Mix, Use, carry, matrix_of
from sanakit.layers.beside import told_by_row
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.quantization.quantize import quantize_
from sanakit.quantization.schemes import scheme_named

LENGTHS = (5, 1, 3, 5)  # of texts: a text of one token has no queries, and a short one folded ones


def condition(model: LinearDiT, mixes: list[Mix]) -> Condition:
    parts = []
    for row, mix in enumerate(mixes):
        length = LENGTHS[row % len(LENGTHS)]
        text = TextCondition(draw(1, length, 12, seed=row), torch.ones(1, length, dtype=torch.bool))
        with told_by_row((mix,)):
            parts.append(replace(model.prepare(text), beside=(mix,)))
    return Condition.cat(parts)


def velocity(model: LinearDiT, mixes: list[Mix], *, side: int = 8) -> Tensor:
    """Of one call whose rows take these mixes."""
    told = condition(model, mixes)
    latent = torch.cat([draw(1, 4, side, side, seed=50 + row) for row in range(len(mixes))])
    with told_by_row(told.beside):
        return model(latent, torch.linspace(900, 100, len(mixes)), told)


def merged(model: LinearDiT, mix: Mix) -> LinearDiT:
    """A network with the changes in its weights."""
    changed = deepcopy(model)
    for use in mix:
        for path in use.adapter.paths.values():
            layer = changed.get_submodule(path.place.layer)
            matrix = matrix_of(model.get_submodule(path.place.layer))[path.place.rows]
            layer.weight.data.flatten(1)[path.place.rows] += use.weight * path.change(matrix)
    return changed


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@torch.no_grad()
def test_under_autocast_a_path_is_added_in_the_dtype_of_the_layer() -> None:
    model = network()
    mix = (Use(adapter(model, "lora")),)
    carry(model, mix[0].adapter)
    plain = velocity(model, [mix])
    with torch.autocast("cpu", torch.bfloat16):
        assert relative(velocity(model, [mix]), plain) < 0.05


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_side_path_is_a_changed_weight(kind: str, qk_norm: bool) -> None:
    model = network(replace(TINY, qk_norm=qk_norm))
    one = adapter(model, kind)
    mix = (Use(one, 0.7),)
    expected = velocity(merged(model, mix), [()] * 2)
    before = velocity(model, [()] * 2)
    carry(model, one)
    assert relative(velocity(model, [mix] * 2), expected) < 2e-6
    assert relative(before, expected) > 0.01
    assert torch.equal(velocity(model, [()] * 2), before)


@torch.no_grad()
def test_rows_of_one_call_take_their_own_mixes_to_the_bit() -> None:
    """Whoever shares a call of four rows, also one whose texts are folded or not."""
    model = network()
    first, second = adapter(model, "lora", seed=1), adapter(model, "dora", seed=2, layers=("attention.qkv", "final"))
    plain = velocity(model, [()] * 4)
    carry(model, first)
    carry(model, second)
    mixes: list[Mix] = [(Use(first),), (), (Use(first, 0.5), Use(second)), (Use(second, -1.0),)]
    together = velocity(model, mixes)
    for row, mix in enumerate(mixes):
        assert torch.equal(velocity(model, [mix] * 4)[row], together[row])
        assert torch.equal(velocity(model, [mix if other == row else () for other in range(4)])[row], together[row])
    assert torch.equal(together[1], plain[1])
    for row in (0, 2, 3):
        assert not torch.equal(together[row], plain[row])


@torch.no_grad()
def test_several_are_added() -> None:
    model = network()
    mix = tuple(Use(adapter(model, kind, seed=seed), 0.5) for seed, kind in enumerate(("lora", "dora", "lokr")))
    expected = velocity(merged(model, mix), [()])
    for use in mix:
        carry(model, use.adapter)
    assert relative(velocity(model, [mix]), expected) < 2e-6


@pytest.mark.parametrize("scheme", ["int8-weight", "nf4"])
@torch.no_grad()
def test_quantized_layers_carry_them_too(scheme: str) -> None:
    model = network(replace(TINY, hidden_size=64))
    one = adapter(model, "lora")
    quantize_(model, scheme_named(scheme))
    before = velocity(model, [()])
    carry(model, one)
    assert torch.equal(velocity(model, [()]), before)
    assert not torch.equal(velocity(model, [(Use(one),)]), before)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_changed_weight(kind: str) -> None:
    """And they reach the adapter alone. The length that a magnitude is divided by counts as a constant (DoRA, 4.3)."""
    model = network().double()
    one: Adapter = adapter(model, kind, layers=("mix_ffn.project",)).double().train().requires_grad_(True)
    (path,) = one.paths.values()
    layer = model.blocks[0].mix_ffn.project
    carry(model, one, always=True)
    x = draw(2, 7, layer.in_features, seed=5).double()
    layer(x).square().sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in one.named_parameters()}
    one.zero_grad()
    if path.magnitude is None:
        weight = layer.weight + path.change(layer.weight)
    else:
        turned = layer.weight + path.matrix()
        weight = turned * (path.magnitude / turned.detach().norm(dim=1))[:, None]
    (x @ weight.mT).square().sum().backward()
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)
    assert all(parameter.grad is None for parameter in model.parameters())
