"""Profiles made for named colours: their primaries as published for the white of profiles (D50)."""

from __future__ import annotations

import numpy as np
import pytest

from sanakit.common.colours.named import _OF_ADOBE, _PRIMARIES, Primaries, _adapted, _linear


@pytest.mark.parametrize(
    ("primaries", "published"),
    [
        # Adobe RGB (1998), as in Adobe's own profile; Display P3, as in Apple's.
        (_OF_ADOBE, [[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]]),
        (_PRIMARIES[12], [[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]]),
        (_PRIMARIES[9], [[0.67348, 0.27904, -0.00193], [0.16566, 0.67535, 0.02998], [0.12505, 0.04561, 0.79686]]),
    ],
)
def test_primaries_are_those_that_are_published(primaries: Primaries, published: list[list[float]]) -> None:
    found = _adapted(primaries)
    np.testing.assert_allclose(found, published, atol=4e-4)
    np.testing.assert_allclose(found.sum(axis=0), [0.9642, 1.0, 0.8249], atol=1e-9)


def test_the_curve_of_srgb() -> None:
    np.testing.assert_allclose(_linear(np.array([0.0, 0.04045, 0.5, 1.0])), [0, 0.0031308, 0.2140411, 1], atol=1e-7)
