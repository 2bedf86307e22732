"""What a core installation has not is named, with what brings it, before anything is fetched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from sanakit.common.errors import MissingExtraError
from sanakit.data.curation.config import TransformersCaptions
from sanakit.data.curation.transformers_captioner import check_model
from sanakit.scoring.contrastive import load_contrastive_scorer
from sanakit.scoring.detecting.object_detectors import load_object_detector
from sanakit.scoring.extractors.vision_tower import load_vision_tower


@pytest.mark.parametrize(("load", "what"), [
    (load_vision_tower, "org/model as a scorer"), (load_contrastive_scorer, "org/model as a scorer"),
    (load_object_detector, "org/model as a detector"),
    (lambda model: check_model(TransformersCaptions(source="captions", model=model)), "the captioner org/model"),
])  # fmt: skip
def test_transformers(load: Callable[[str], Any], what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    expected = f"^{what} needs transformers; install it with: pip install 'sanakit\\[transformers\\]'$"
    with pytest.raises(MissingExtraError, match=expected):
        load("org/model")
