"""Importance over a run against every token one by one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.models.transformers.linear_dit import Block
from sanakit.pipelines.measuring.block_importance import BlockImportance, measure_block_importance
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline


def test_the_mean_over_tokens_prompts_and_steps(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures of three steps, two guided rows each, 64 tokens: 768 tokens a block."""
    seen: dict[int, list[tuple[Tensor, Tensor]]] = {}
    plain = Block.forward

    def recorded(self: Block, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        after = plain(self, x, *rest, **named)
        seen.setdefault(id(self), []).append((x.clone(), after.clone()))
        return after

    monkeypatch.setattr(Block, "forward", recorded)
    requests = [GenerationRequest(prompt="a cat", seed=1), GenerationRequest(prompt="two dogs", seed=2)]
    found = measure_block_importance(TextToImagePipeline(tiny_bundle), requests)
    assert found.counts == [768, 768]
    for block, value in zip(tiny_bundle.transformer.blocks, found.values, strict=True):
        distances = [
            1 - sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
            for before, after in seen[id(block)]
            for x, y in zip(before.flatten(0, 1).tolist(), after.flatten(0, 1).tolist(), strict=True)
        ]
        assert len(distances) == 768
        assert value == pytest.approx(sum(distances) / 768, abs=1e-6)
        assert value > 1e-4


def test_the_network_is_as_before(tiny_bundle: ModelBundle) -> None:
    pipeline, request = TextToImagePipeline(tiny_bundle), GenerationRequest(prompt="a cat")
    measure_block_importance(pipeline, [request])
    assert not any(block._forward_hooks for block in tiny_bundle.transformer.blocks)

    def fail(event: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_block_importance(pipeline, [request], on_event=fail)
    assert not any(block._forward_hooks for block in tiny_bundle.transformer.blocks)


def test_what_changes_only_the_length_counts_nothing() -> None:
    importance, x = BlockImportance(3), torch.randn(2, 5, 8)
    for index, factor in enumerate((2.0, -1.0)):
        importance.add(index, x, x * factor)
    assert importance.values == pytest.approx((0.0, 2.0, 0.0), abs=1e-6)
