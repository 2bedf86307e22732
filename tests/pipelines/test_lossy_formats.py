"""What JPEG and WebP lose of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from sanakit.pipelines.picture_file import open_picture, write_image
from sanakit.pipelines.record import ModelReference, PictureRecord, describe_image
from sanakit.pipelines.request import GenerationRequest


@pytest.mark.parametrize("picture_format", ["jpeg", "webp"])
def test_lossy_formats_lose_little(tmp_path: Path, picture_format: str) -> None:
    image = Image.radial_gradient("L").resize((64, 32)).convert("RGB")
    model = ModelReference(name="tiny", source="starter", hash="0123456789abcdef", dtypes={"transformer": "float32"})
    record = PictureRecord(
        request=GenerationRequest(prompt="a cat", height=32, width=64, seed=7), model=model, device="cpu", versions={},
        image=describe_image(image),
    )  # fmt: skip
    write_image(tmp_path / "picture", image, record, picture_format)
    kept = open_picture(tmp_path / "picture")
    error = np.square(np.asarray(kept.convert("RGB"), np.float64) - np.asarray(image, np.float64)).mean()
    assert 10 * np.log10(255**2 / error) > 38
    if picture_format == "jpeg":
        assert isinstance(kept, JpegImagePlugin.JpegImageFile)
        assert kept.quantization[0][:3] == [2, 1, 1]  # quality 95 of libjpeg
        assert JpegImagePlugin.get_sampling(kept) == 0  # 4:4:4
