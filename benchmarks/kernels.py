"""CPU time of the kernels against their plain alternatives, interleaved, medians. Run: python benchmarks/kernels.py"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.kernels.linear_attention import linear_attention
from sanakit.kernels.mix_ffn import gated_depthwise


def quadratic_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = F.relu(q) @ F.relu(k).mT  # (B, heads, N, N)
    return weights @ v / (weights.sum(-1, keepdim=True) + 1e-15)


def gated_depthwise_channels_first(tokens: Tensor, weight: Tensor, bias: Tensor, height: int, width: int) -> Tensor:
    picture = F.silu(tokens).mT.unflatten(-1, (height, width)).contiguous()
    value, gate = F.conv2d(picture, weight, bias, padding=1, groups=picture.shape[1]).chunk(2, dim=1)
    return (value * F.silu(gate)).flatten(2).mT


def compare(name: str, ours: Callable[[], Tensor], other: Callable[[], Tensor], rounds: int = 7) -> float:
    """Print the medians of both; gives how many times faster the first is."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        start = time.process_time()
        ours()
        middle = time.process_time()
        other()
        times.append((middle - start, time.process_time() - middle))
    a, b = (statistics.median(column) * 1e3 for column in zip(*times[1:], strict=True))
    print(f"{name:44s} {a:9.1f} ms  {b:9.1f} ms  {b / a:6.2f}x")
    return b / a


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, one thread")
    for tokens in (256, 1024, 4096):
        q, k, v = (torch.randn(1, 36, tokens, 32) for _ in range(3))
        compare(
            f"linear vs quadratic attention, {tokens} tokens",
            lambda q=q, k=k, v=v: linear_attention(q, k, v), lambda q=q, k=k, v=v: quadratic_attention(q, k, v), 4,
        )  # fmt: skip
    for dtype in (torch.float32, torch.bfloat16):
        tokens_, weight, bias = (torch.randn(s).to(dtype) for s in ((2, 1024, 5760), (5760, 1, 3, 3), (5760,)))
        compare(
            f"gated depth-wise, tokens vs channels first, {str(dtype).removeprefix('torch.')}",
            lambda t=tokens_, w=weight, b=bias: gated_depthwise(t, w, b, height=32, width=32),
            lambda t=tokens_, w=weight, b=bias: gated_depthwise_channels_first(t, w, b, 32, 32),
        )


if __name__ == "__main__":
    main()
