"""Blocks in one kernel against the same blocks layer by layer: to the bit, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sanakit.kernels.cross_attention import FoldedText
from sanakit.kernels.dit_block import native
from sanakit.kernels.native import library as opening
from sanakit.layers.linear import Linear
from sanakit.models.transformers import whole_block
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

SIZE = (9, 8)  # of a picture, in tokens
WIDE = 48  # channels: three vectors of AVX-512, three heads
Given = tuple[Tensor, Tensor, Condition]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network_of(*, qk_norm: bool) -> LinearDiT:
    network = LinearDiT(
        LinearDiTConfig(
            hidden_size=WIDE,
            num_layers=2,
            head_dim=16,
            cross_head_dim=16,
            qk_norm=qk_norm,
            mlp_ratio=1.67,  # 80 channels
            in_channels=4,
            out_channels=4,
            caption_channels=8,
        )
    )
    for seed, parameter in enumerate(network.parameters()):
        parameter.data.copy_(normal(*parameter.shape, seed=seed) / parameter[0].numel() ** 0.5)
    return network.eval().requires_grad_(False)


def given_of(same: tuple[bool, ...], length: int = 5) -> Given:
    """Pictures, of which some see a single token, in one call."""
    rows, heads = len(same), WIDE // 16
    keys, values = (tuple(normal(rows, heads, length, 16, seed=seed + n) for n in range(2)) for seed in (101, 103))
    mask = torch.arange(length) < torch.arange(1, rows + 1)[:, None]  # one token of the first, two of the second, ...
    alone = [FoldedText(None, None, normal(1, WIDE, seed=105 + n), heads) for n in range(2)]
    folded = tuple(tuple(own if each else None for each in same) for own in alone)
    condition = Condition(keys=keys, values=values, mask=mask[:, None, None], folded=folded)
    return normal(rows, 4, *SIZE, seed=107), torch.linspace(900, 100, rows), condition


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every call of the one kernel."""
    found: list[int] = []

    def counted(x: Tensor, *rest: object) -> Tensor:
        found.append(len(x))
        return native.dit_blocks(x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(whole_block.dit_block, "dit_blocks", counted)
    return found


def by_layers(network: LinearDiT, given: Given) -> Tensor:
    """As it is computed where gradients may be wanted, by the same kernels."""
    with torch.enable_grad():
        return network(*given)


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("same", [(True, False), (False, False, True, False), (True,), ()])
@torch.no_grad()
def test_is_the_network_to_the_bit(
    qk_norm: bool, same: tuple[bool, ...], calls: list[int], lent_threads: Callable[[int], None]
) -> None:
    network, given = network_of(qk_norm=qk_norm), given_of(same or (False, False))
    given = given if same else (*given[:2], replace(given[2], folded=()))
    for threads in (1, 3):
        lent_threads(threads)
        assert torch.equal(network(*given), by_layers(network, given))
    assert calls == [len(given[0])] * 2


@pytest.mark.usefixtures("native_everywhere")
@torch.no_grad()
def test_layers_and_weights_that_change_are_seen(calls: list[int]) -> None:
    network, given = network_of(qk_norm=True), given_of((True, False))
    block = network.units[1]
    assert isinstance(block, whole_block.PlainBlock)

    def changes(*, in_one_kernel: bool) -> None:
        calls.clear()
        found = network(*given)
        assert calls == [2] * in_one_kernel
        assert torch.equal(found, by_layers(network, given))

    with opening.torch_alone():
        changes(in_one_kernel=False)
    changes(in_one_kernel=True)
    block.attention.qkv.weight.mul_(2)  # in place
    changes(in_one_kernel=True)
    block.attention.qkv.weight.data = normal(3 * WIDE, WIDE, seed=200)
    changes(in_one_kernel=True)
    block.mix_ffn.project.weight = nn.Parameter(normal(WIDE, 80, seed=201), requires_grad=False)
    changes(in_one_kernel=True)
    for watched in (block, block.cross_attention.q):
        handle = watched.register_forward_hook(lambda layer, given, output: output + 1)
        changes(in_one_kernel=False)
        handle.remove()
        changes(in_one_kernel=True)

    for part in (block, block.mix_ffn.expand):
        plain = part.forward
        part.forward = lambda *given, plain=plain: plain(*given) + 1
        changes(in_one_kernel=False)
        del part.forward
        changes(in_one_kernel=True)

    class Other(Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    own, block.attention.out = block.attention.out, Other(WIDE, WIDE).requires_grad_(False)
    changes(in_one_kernel=False)
    block.attention.out = own
    changes(in_one_kernel=True)
    calls.clear()
    own.weight.requires_grad_(True)
    network(*given)
    assert not calls


@pytest.mark.usefixtures("native_everywhere")
@torch.no_grad()
def test_what_it_does_not_take_goes_by_layers(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    network, given = network_of(qk_norm=False), given_of((True, False))
    latent, times, condition = given
    folded = FoldedText(normal(3 * 2, WIDE, seed=1), None, normal(3 * 2, WIDE, seed=2), 3)
    network(latent, times, replace(condition, folded=((None, folded),) * 2))
    network(latent, times, replace(condition, perturbed={1: torch.tensor([True, False])}))
    network(latent[:, :, :, :7], times, condition)  # fewer tokens than the products take
    tokens = latent.numel() // 4 * WIDE
    monkeypatch.setattr(native, "LARGEST", tokens - 1)
    network(*given)
    assert not calls
    monkeypatch.setattr(native, "LARGEST", tokens)
    network(*given)
    assert calls == [2]
    wide = replace(
        condition, **{name: tuple(x.double() for x in getattr(condition, name)) for name in ("keys", "values")}
    )
    network.double()(latent.double(), times.double(), replace(wide, folded=()))
    assert calls == [2]


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize("other", ["heads", "channels", "rows", "positions", "weight"])
@torch.no_grad()
def test_what_does_not_belong_together_is_refused_as_by_the_layers(other: str, calls: list[int]) -> None:
    network, (latent, times, condition) = network_of(qk_norm=True), given_of((False, False))
    keys = condition.keys[0]
    parts = {
        "heads": keys.unflatten(1, (1, -1)).flatten(2, 3)[..., :8].reshape(2, -1, 5, 8)[:, :6],
        "channels": keys[:, :2],
        "rows": keys[:1].expand(3, -1, -1, -1),
        "positions": keys[:, :, :4],
    }
    if other == "weight":
        network.blocks[0].mix_ffn.expand.weight = nn.Parameter(normal(144, WIDE, seed=1), requires_grad=False)
    else:
        condition = replace(condition, keys=(parts[other],) * 2, values=(parts[other],) * 2, folded=())
    with pytest.raises((RuntimeError, ValueError, AssertionError)):
        network(latent, times, condition)
    assert not calls
