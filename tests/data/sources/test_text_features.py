"""Features of texts that belong together, and those that do not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from sanakit.common.errors import PictureError
from sanakit.data.sources.data_source import read_text_features


def packed(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_features_and_their_mask() -> None:
    embeds = np.arange(6.0).reshape(3, 2)
    for given in (embeds, embeds[None]):
        found = read_text_features(packed(caption_feature=given, attention_mask=[[[1, 0, 2]]]), "a")
        assert np.array_equal(found.embeds, embeds)
        assert found.mask.tolist() == [True, False, True]
    assert read_text_features(packed(caption_feature=embeds), "a").mask.tolist() == [True] * 3


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"caption_feature": np.ones((3, 2)), "attention_mask": [1, 1]}, "a holds 3 features and 2 of their mask"),
        ({"caption_feature": np.array([[1.0], [np.nan]])}, "or no finite numbers"),
        ({"other": np.ones(3)}, "a cannot be read as text features"),
        ({"caption_feature": np.ones((2, 3, 2))}, "a cannot be read as text features"),
    ],
)
def test_those_that_do_not_belong_together(arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(PictureError, match=words):
        read_text_features(packed(**arrays), "a")
