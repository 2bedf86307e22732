"""How much each block of a transformer changes what passes through it, over a real run of sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.pipelines.events import OnEvent
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline


class BlockImportance:
    """Means over every token that a block has seen of ``1 - cos(token before, token after)``."""

    def __init__(self, num_blocks: int) -> None:
        self.sums, self.counts = [0.0] * num_blocks, [0] * num_blocks

    def add(self, block: int, before: Tensor, after: Tensor) -> None:
        """Take tokens ``(B, N, C)`` before and after a block."""
        similarity = F.cosine_similarity(before.float(), after.float(), dim=-1)  # (B, N)
        self.sums[block] += float((1 - similarity).sum())
        self.counts[block] += similarity.numel()

    @property
    def values(self) -> tuple[float, ...]:
        """One per block, 0 (changes the length of tokens at most) to 2."""
        return tuple(total / max(count, 1) for total, count in zip(self.sums, self.counts, strict=True))


def measure_block_importance(
    pipeline: TextToImagePipeline, requests: Sequence[GenerationRequest], *, on_event: OnEvent | None = None
) -> BlockImportance:
    """Sample the latents of all requests and watch the blocks, at every step and in every branch of guidance.

    Source: SANA-1.5, arXiv:2501.18427, section 2.2, which takes 100 prompts.
    """
    blocks = pipeline.bundle.transformer.blocks
    importance = BlockImportance(len(blocks))
    with watched(blocks, importance):
        pipeline(list(requests), output="latent", on_event=on_event)
    return importance


@contextmanager
def watched(blocks: nn.ModuleList, importance: BlockImportance) -> Iterator[None]:
    """Tell ``importance`` what enters and leaves each block, as long as this lasts."""

    def watch(index: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            importance.add(index, inputs[0], output)

        return hook

    with ExitStack() as stack:
        for index, block in enumerate(blocks):
            stack.callback(block.register_forward_hook(watch(index)).remove)
        yield
