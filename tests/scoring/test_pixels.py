"""Pictures on their way to a network: in batches of one size, in their order, each with its text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.common.errors import RequestError
from sanakit.scoring.pixels import are_pairs, as_images, extract_batch, same_size_batches


@pytest.mark.parametrize(
    ("sides", "batch_size", "expected"),
    [
        ("", 2, []),
        ("a", 2, ["a"]),
        ("aaaa", 2, ["aa", "aa"]),
        ("aaaaa", 2, ["aa", "aa", "a"]),
        ("aabaa", 9, ["aa", "b", "aa"]),
        ("ab", 1, ["a", "b"]),
    ],
)
def test_neighbours_of_one_size_go_together(sides: str, batch_size: int, expected: list[str]) -> None:
    pictures = [Image.new("L", (4, 4) if side == "a" else (4, 5), number) for number, side in enumerate(sides)]
    batches = list(same_size_batches(pictures, batch_size))
    assert ["".join("a" if each.size == (4, 4) else "b" for each in batch) for batch in batches] == expected
    assert [picture for batch in batches for picture in batch] == pictures


def test_levels_are_shares_of_white() -> None:
    picture = Image.fromarray(np.array([[[0, 51, 255], [102, 0, 0]]], np.uint8))
    expected = torch.tensor([[[[0.0, 0.4]], [[0.2, 0.0]], [[1.0, 0.0]]]])
    torch.testing.assert_close(as_images([picture]), expected)
    features = extract_batch(lambda images: images.flatten(1) * 2, [picture, picture], "cpu")  # type: ignore[arg-type]
    assert (features.dtype, features.shape) == (np.float64, (2, 6))
    np.testing.assert_allclose(features[1], 2 * expected.flatten().numpy(), atol=1e-6)


def test_every_picture_needs_its_text() -> None:
    picture = Image.new("RGB", (1, 1))
    assert are_pairs([picture], ["a"])
    assert not are_pairs([], [])
    with pytest.raises(RequestError, match="1 pictures and 2 texts"):
        are_pairs([picture], ["a", "b"])
