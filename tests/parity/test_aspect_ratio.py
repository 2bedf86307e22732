"""Aspect-ratio bins against the tables of diffusers."""

from __future__ import annotations

import pytest

from sanakit.common.aspect_ratio import aspect_ratio_bins, nearest_bin

alpha = pytest.importorskip("diffusers.pipelines.pixart_alpha.pipeline_pixart_alpha")
sigma = pytest.importorskip("diffusers.pipelines.pixart_alpha.pipeline_pixart_sigma")
sana = pytest.importorskip("diffusers.pipelines.sana.pipeline_sana")

TABLES = {
    256: alpha.ASPECT_RATIO_256_BIN,
    512: alpha.ASPECT_RATIO_512_BIN,
    1024: alpha.ASPECT_RATIO_1024_BIN,
    2048: sigma.ASPECT_RATIO_2048_BIN,
    4096: sana.ASPECT_RATIO_4096_BIN,
}


@pytest.mark.parametrize("base_size", TABLES)
def test_tables(base_size: int) -> None:
    expected = {float(ratio): tuple(map(int, size)) for ratio, size in TABLES[base_size].items()}
    assert dict(aspect_ratio_bins(base_size)) == expected


@pytest.mark.parametrize("base_size", TABLES)
@pytest.mark.parametrize("size", [(1024, 1024), (720, 1280), (1000, 777), (300, 301), (64, 1024), (999, 333)])
def test_choice(base_size: int, size: tuple[int, int]) -> None:
    from diffusers.image_processor import PixArtImageProcessor

    expected = PixArtImageProcessor.classify_height_width_bin(*size, ratios=TABLES[base_size])
    assert nearest_bin(*size, base_size) == expected
