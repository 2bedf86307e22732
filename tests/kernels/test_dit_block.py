"""A block in one kernel against the same block layer by layer: to the bit, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sanakit.kernels.cross_attention import FoldedText
from sanakit.kernels.dit_block import native
from sanakit.kernels.native import library as opening
from sanakit.layers.cross_attention import AttendedText
from sanakit.layers.linear import Linear
from sanakit.models.transformers import whole_block
from sanakit.models.transformers.linear_dit import Block, LinearDiTConfig
from sanakit.models.transformers.whole_block import bound_weights

SIZE = (9, 8)  # of a picture, in tokens
WIDE = 48  # channels: three vectors of AVX-512, six heads of self-attention and three of cross-attention

Parts = tuple[Tensor, Tensor, AttendedText, tuple[int, int]]


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def block_of(*, qk_norm: bool, wide: int = WIDE) -> Block:
    config = LinearDiTConfig(
        hidden_size=wide,
        num_layers=1,
        head_dim=16,
        cross_head_dim=16,
        qk_norm=qk_norm,
        mlp_ratio=1.67,
        caption_channels=8,
    )
    block = Block(config)
    for seed, parameter in enumerate(block.parameters()):
        parameter.data.copy_(normal(*parameter.shape, seed=seed) / parameter[0].numel() ** 0.5)
    return block.eval().requires_grad_(False)


def parts_of(same: tuple[bool, ...], length: int = 5) -> Parts:
    """Pictures, of which some see a single token, in one call."""
    rows, heads = len(same), WIDE // 16
    keys, values = (normal(rows, heads, length, 16, seed=seed) for seed in (101, 102))
    mask = torch.arange(length) < torch.arange(1, rows + 1)[:, None]  # one token of the first, two of the second, ...
    alone = FoldedText(None, None, normal(1, WIDE, seed=103), heads)
    text = AttendedText(keys, values, mask[:, None, None], tuple(alone if each else None for each in same))
    return normal(rows, SIZE[0] * SIZE[1], WIDE, seed=104), normal(rows, 6, WIDE, seed=105), text, SIZE


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every block that one kernel computes."""
    found: list[int] = []

    def counted(x: Tensor, *rest: object) -> Tensor:
        found.append(len(x))
        return native.dit_block(x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(whole_block, "dit_block", counted)
    return found


def by_layers(block: Block, parts: Parts) -> Tensor:
    """As it is computed where gradients may be wanted, by the same kernels."""
    x, *rest = parts
    with torch.enable_grad():
        return block(x, *rest)


@pytest.mark.usefixtures("native_everywhere")
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("same", [(True, False), (False, False, True, False), (True,), ()])
@torch.no_grad()
def test_is_the_block_to_the_bit(
    qk_norm: bool, same: tuple[bool, ...], calls: list[int], lent_threads: Callable[[int], None]
) -> None:
    block, parts = block_of(qk_norm=qk_norm), parts_of(same or (False, False))
    x, modulation, text, size = parts
    text = text if same else text._replace(folded=())
    before = x.clone()
    for threads in (1, 3):
        lent_threads(threads)
        found = block(x, modulation, text, size)
        assert torch.equal(found, by_layers(block, (x, modulation, text, size)))
    assert calls == [len(x)] * 2
    assert torch.equal(x, before)


@pytest.mark.usefixtures("native_everywhere")
@torch.no_grad()
def test_layers_and_weights_that_change_are_seen(calls: list[int]) -> None:
    block, parts = block_of(qk_norm=True), parts_of((True, False))
    with opening.torch_alone():
        block(*parts)
    assert not calls
    block(*parts)
    assert calls == [2]

    def changes(is_one_kernel: bool) -> None:
        calls.clear()
        found = block(*parts)
        assert calls == [2] * is_one_kernel
        assert torch.equal(found, by_layers(block, parts))

    block.attention.qkv.weight.mul_(2)  # in place
    changes(True)
    block.attention.qkv.weight.data = normal(3 * WIDE, WIDE, seed=200)
    changes(True)
    block.mix_ffn.project.weight = nn.Parameter(
        normal(*block.mix_ffn.project.weight.shape, seed=201), requires_grad=False
    )
    changes(True)
    handle = block.cross_attention.q.register_forward_hook(lambda layer, given, output: output + 1)
    changes(False)
    handle.remove()
    changes(True)

    class Other(Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    own = block.attention.out
    block.attention.out = Other(WIDE, WIDE).requires_grad_(False)
    changes(False)
    block.attention.out = own
    changes(True)
    own.weight.requires_grad_(True)
    block(*parts)
    assert bound_weights(block) is None


@pytest.mark.usefixtures("native_everywhere")
@torch.no_grad()
def test_what_it_does_not_take_goes_by_layers(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    block, parts = block_of(qk_norm=False), parts_of((True, False))
    x, modulation, text, _ = parts
    folded = FoldedText(normal(3 * 2, WIDE, seed=1), None, normal(3 * 2, WIDE, seed=2), 3)
    block(x, modulation, text._replace(folded=(None, folded)), SIZE)
    block(x, modulation, text, SIZE, torch.tensor([True, False]))  # perturbed
    block(x[:, :63], modulation, text, (9, 7))  # fewer tokens than the products take
    block.double()(
        x.double(),
        modulation.double(),
        text._replace(keys=text.keys.double(), values=text.values.double(), folded=()),
        SIZE,
    )
    monkeypatch.setattr(native, "LARGEST", x.numel() - 1)
    block.float()(*parts)
    assert not calls
    monkeypatch.setattr(native, "LARGEST", x.numel())
    assert torch.equal(block(*parts), by_layers(block, parts))
    assert calls == [2]
