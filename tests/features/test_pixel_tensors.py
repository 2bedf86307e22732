"""What goes through the frozen networks at once, and whose ends they do not read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from sanakit.common.devices import has_quick_bfloat16
from sanakit.features.encoders import Encoders
from sanakit.features.pixel_tensors import cut_texts, encode_pictures, encode_texts, rows_at_once
from sanakit.models.text.text_condition import TextCondition


@pytest.mark.parametrize(
    ("height", "width", "device", "expected"),
    [
        (64, 64, "cpu", 128), (512, 512, "cpu", 2), (512, 1024, "cpu", 1), (513, 1024, "cpu", 1),
        (4096, 4096, "cpu", 1),
        (1024, 1024, "cuda", 8), (2048, 2048, "cuda:1", 2), (4096, 4096, "cuda", 1),
    ],
)  # fmt: skip
def test_half_a_million_pixels_at_once_and_eight_on_a_gpu(height: int, width: int, device: str, expected: int) -> None:
    assert rows_at_once(height, width, device) == expected


def test_only_texts_with_a_token_too_many_are_cut(encoders: Encoders) -> None:
    """The tiny tokenizer makes a token of every byte; of 40 the instruction's last and the first are two."""
    config = encoders.text.config
    assert (config.max_tokens, bool(config.instruction_text)) == (40, True)
    texts = ["x" * 37, "x" * 38, "x" * 39, "y" * 40, "é" * 19, "é" * 19 + "x", "é" * 20, "", "x" * 99]
    assert cut_texts(encoders.text, texts) == ["x" * 39, "y" * 40, "é" * 19 + "x", "é" * 20, "x" * 99]
    assert cut_texts(encoders.text, [" " * 50 + "x"]) == []  # long, but not of tokens


class Noting:
    """Notes what it is given; a latent is the mean of its picture, the features of a text are its length."""

    compute_dtype = torch.float32

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []
        self.rows: list[int] = []

    def to(self, device: torch.device | str) -> Noting:
        return self

    def encode(self, given: torch.Tensor | Sequence[str], rows_per_call: int = 0) -> torch.Tensor | list[TextCondition]:
        if isinstance(given, torch.Tensor):
            self.calls.append((len(given), torch.is_autocast_enabled("cpu")))
            return given.mean(dim=(1, 2, 3), keepdim=True)
        self.rows.append(rows_per_call)
        return [TextCondition(torch.full((1, 2, 1), float(len(t))), torch.ones(1, 2, dtype=bool)) for t in given]


@pytest.mark.parametrize("quick", [False, True])
def test_pictures_go_in_the_order_they_came_and_none_alone(quick: bool) -> None:
    levels, network = (0, 255, 51), Noting()
    pictures = [np.full((512, 512, 3), level, np.uint8) for level in levels]
    latents = encode_pictures(network, pictures, "cpu", quick=quick)  # type: ignore[arg-type]
    autocast = quick and has_quick_bfloat16("cpu")
    assert network.calls == [(2, autocast), (2, autocast)]
    assert latents.dtype == torch.bfloat16
    torch.testing.assert_close(latents.flatten().float(), torch.tensor([-1.0, 1.0, -0.6]), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("device", "exact", "rows"), [("cpu", True, 1), ("cpu", False, 64), ("cuda", True, 64), ("cuda", False, 64)]
)
def test_texts_go_alone_where_bits_count(device: str, exact: bool, rows: int) -> None:
    network = Noting()
    found = encode_texts(network, ["a", "bcd", ""], device, exact=exact)  # type: ignore[arg-type]
    assert network.rows == [rows]
    assert [text.tolist() for text in found] == [[[1.0], [1.0]], [[3.0], [3.0]], [[0.0], [0.0]]]
