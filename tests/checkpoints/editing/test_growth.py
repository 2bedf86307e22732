"""Growing: what is kept is kept to the bit, and what is new does nothing yet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.editing.growth import (
    DerivedNetwork,
    GrowthConfig,
    add_qk_norm,
    block_tensors,
    grow,
    keep_blocks,
    outside_blocks,
)
from sanakit.common.errors import RequestError
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

CONFIG = LinearDiTConfig(
    hidden_size=16,
    num_layers=20,
    cross_head_dim=8,
    head_dim=8,
    in_channels=3,
    out_channels=3,
    caption_channels=6,
    qk_norm=True,
)


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {name: torch.randn_like(value) * 0.2 for name, value in LinearDiT(CONFIG).state_dict().items()}


def velocity(network: DerivedNetwork) -> Tensor:
    model = LinearDiT(network.config)
    model.load_state_dict(network.tensors, strict=True)
    g = torch.Generator().manual_seed(1)
    text = TextCondition(torch.randn(2, 5, 6, generator=g), torch.ones(2, 5, dtype=torch.bool))
    with torch.no_grad():
        return model(torch.randn(2, 3, 4, 6, generator=g), torch.tensor([900.0, 30.0]), model.prepare(text))


def test_eighteen_blocks_are_kept_and_the_rest_adds_nothing(trained: dict[str, Tensor]) -> None:
    grown = grow(trained, CONFIG, GrowthConfig(num_layers=60))
    assert grown.config == replace(CONFIG, num_layers=60)
    assert grown.origins == (*range(18), *[None] * 42)
    for name, tensor in trained.items():
        if not name.startswith(("blocks.18.", "blocks.19.")):
            assert torch.equal(grown.tensors[name], tensor), name
    kept = keep_blocks(trained, CONFIG, tuple(range(18)))
    assert torch.equal(velocity(grown), velocity(kept))
    assert not torch.allclose(velocity(kept), velocity(keep_blocks(trained, CONFIG, tuple(range(17)))))


def test_new_blocks_begin_as_the_paper_says(trained: dict[str, Tensor]) -> None:
    grown = grow(trained, CONFIG, GrowthConfig(num_layers=60, seed=3))
    zero = {"attention.out.weight", "cross_attention.out.weight", "mix_ffn.project.weight"}
    drawn: dict[float, list[Tensor]] = {0.2: [], 0.02: []}
    for index in range(18, 60):
        for name, tensor in block_tensors(grown.tensors, index).items():
            if name in zero or name.endswith("bias"):
                assert not tensor.any(), name
            elif "norm_" in name:
                assert (tensor == 1).all(), name
            else:
                drawn[0.2 if "depthwise" in name else 0.02].append(tensor.flatten())
    for deviation, parts in drawn.items():
        values = torch.cat(parts)
        assert values.std().item() == pytest.approx(deviation, rel=0.05)
        assert abs(values.mean().item()) < 5 * deviation / math.sqrt(len(values))


def test_new_blocks_learn(trained: dict[str, Tensor]) -> None:
    """Zero at the end of a branch alone: its gradient is not zero."""
    grown = grow(trained, CONFIG, GrowthConfig(num_layers=22))
    model = LinearDiT(grown.config)
    model.load_state_dict(grown.tensors)
    text = TextCondition(torch.randn(1, 5, 6), torch.ones(1, 5, dtype=torch.bool))
    model(torch.randn(1, 3, 4, 4), torch.tensor([500.0]), model.prepare(text)).square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if name.startswith("blocks.21.")}
    for name in ("attention.out", "cross_attention.out", "mix_ffn.project"):
        gradient = gradients[f"blocks.21.{name}.weight"]
        assert gradient is not None
        assert gradient.abs().max() > 0, name


def test_the_seed_decides(trained: dict[str, Tensor]) -> None:
    first, again, other = (grow(trained, CONFIG, GrowthConfig(num_layers=22, seed=seed)) for seed in (7, 7, 8))
    name = "blocks.21.attention.qkv.weight"
    assert all(torch.equal(first.tensors[key], again.tensors[key]) for key in first.tensors)
    assert not torch.equal(first.tensors[name], other.tensors[name])
    assert not torch.equal(first.tensors[name], first.tensors["blocks.20.attention.qkv.weight"])


@pytest.mark.parametrize(("strategy", "expected"), [
    ("cyclic-replication", [0, 1, 2, 0, 1, 2, 0]), ("block-expansion", [0, 0, 0, 1, 1, 1, 2, 2, 2]),
])  # fmt: skip
def test_replicas(trained: dict[str, Tensor], strategy: Any, expected: list[int]) -> None:
    small = keep_blocks(trained, CONFIG, (4, 9, 2))
    grown = grow(small.tensors, small.config, GrowthConfig(num_layers=len(expected), strategy=strategy))
    assert list(grown.origins) == expected
    for index, origin in enumerate(expected):
        source = block_tensors(small.tensors, origin)
        assert all(torch.equal(tensor, source[name]) for name, tensor in block_tensors(grown.tensors, index).items())
    memory = {tensor.data_ptr() for tensor in grown.tensors.values()}
    assert len(memory) == len(grown.tensors)  # a file cannot hold one memory under two names
    assert velocity(grown).isfinite().all()


def test_what_stays_is_not_copied(trained: dict[str, Tensor]) -> None:
    grown = grow(trained, CONFIG, GrowthConfig(num_layers=60))
    for name, tensor in {
        **outside_blocks(trained),
        **{f"blocks.3.{k}": v for k, v in block_tensors(trained, 3).items()},
    }.items():
        assert grown.tensors[name].data_ptr() == tensor.data_ptr()


def test_the_dtype_is_kept(trained: dict[str, Tensor]) -> None:
    low = {name: tensor.bfloat16() for name, tensor in trained.items()}
    assert {tensor.dtype for tensor in grow(low, CONFIG, GrowthConfig(num_layers=21)).tensors.values()} == {
        torch.bfloat16
    }


def test_norms_of_queries_and_keys(trained: dict[str, Tensor]) -> None:
    plain = replace(CONFIG, qk_norm=False)
    without = {name: tensor for name, tensor in trained.items() if "norm_q" not in name and "norm_k" not in name}
    normed = add_qk_norm(without, plain)
    assert normed.config == CONFIG
    assert normed.tensors.keys() == trained.keys()
    assert all((tensor == 1).all() for name, tensor in normed.tensors.items() if name not in without)
    assert all(normed.tensors[name] is tensor for name, tensor in without.items())
    assert velocity(grow(normed.tensors, normed.config, GrowthConfig(num_layers=22))).isfinite().all()
    with pytest.raises(RequestError, match="already"):
        add_qk_norm(trained, CONFIG)


@pytest.mark.parametrize(("wrong", "message"), [
    ({"num_layers": 20}, "does not grow to 20"), ({"num_layers": -1}, "does not grow"),
    ({"num_layers": 30, "drop_last": 20}, "from 0 to 19"), ({"num_layers": 30, "drop_last": -1}, "from 0 to 19"),
    ({"num_layers": 50, "strategy": "block-expansion"}, "multiple of 20"),
])  # fmt: skip
def test_what_cannot_be_is_said(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        GrowthConfig(**wrong).origins(20)


def test_growth_as_a_config_says_what_the_network_will_be() -> None:
    config = replace(CONFIG, num_layers=4, qk_norm=False)
    tensors = dict(LinearDiT(config).state_dict())
    growth = GrowthConfig(num_layers=9, qk_norm=True, seed=3)
    grown = grow(tensors, config, growth)
    assert grown.config == growth.grown_config(config) == replace(config, num_layers=9, qk_norm=True)
    assert grown.origins == (0, 1, *[None] * 7)
    LinearDiT(grown.config).load_state_dict(grown.tensors, strict=True)
    with pytest.raises(RequestError, match="does not grow to 4"):
        GrowthConfig(num_layers=4).grown_config(config)
    with pytest.raises(RequestError, match="already"):
        growth.grown_config(replace(config, qk_norm=True))
