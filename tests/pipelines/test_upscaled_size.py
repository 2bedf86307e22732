"""A picture that no reader would open is refused, and twice its sides are only named where they work."""

from __future__ import annotations

import pytest

from sanakit.common.errors import RequestError
from sanakit.pipelines.resolution import MAX_PICTURE_PIXELS, check_upscaled_size


def refusal(pixels: int, scale: int) -> str:
    with pytest.raises(RequestError) as caught:
        check_upscaled_size(1, pixels, scale)
    return str(caught.value)


def test_the_most_pixels_and_what_is_possible_instead() -> None:
    most = MAX_PICTURE_PIXELS
    check_upscaled_size(1, most // 4, 2)
    check_upscaled_size(1, most // 16, 4)
    assert "2 times is possible" not in refusal(most // 4 + 1, 2)
    assert "2 times is possible" in refusal(most // 16 + 1, 4)
    assert "2 times is possible" in refusal(most // 4, 4)
    assert "2 times is possible" not in refusal(most // 4 + 1, 4)
