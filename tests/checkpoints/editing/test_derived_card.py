"""The card of a model that was made from another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sanakit.checkpoints.editing import derived_model
from sanakit.checkpoints.editing.growth import DerivedNetwork
from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import UNKNOWN_LINE
from sanakit.models.presets import LINEAR_DIT_PRESETS

CARD = ModelCard(name="base", family="sana", defaults=ImageDefaults(base_size=512), precision=UNKNOWN_LINE)
CONFIG = LINEAR_DIT_PRESETS["sana-1600m-512"]


@pytest.mark.parametrize(
    ("layers", "origins", "found"),
    [
        ((8,), (*range(18), *[None] * 6), (8,)),
        ((1,), (0, 1, 2, 0, 1, 2, 0), (1, 4)),  # copies of it too
        ((8,), (0, 1, 2, 9, 10), (2,)),  # it is gone: the middle one
        ((8, 9), (0, 9, 10), (1,)),
        ((), (0, 1, 2), ()),
    ],
)
def test_perturbed_blocks_are_found_where_they_are_now(
    layers: tuple[int, ...], origins: tuple[int | None, ...], found: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    for family, qk_norm, expected in (
        ("sana", False, "sana"), ("sana", True, "sana-1.5"), ("starter", True, "starter"),
    ):  # fmt: skip
        base = replace(CARD, family=family, defaults=replace(CARD.defaults, pag_layers=layers))  # type: ignore[arg-type]
        monkeypatch.setattr(derived_model, "card_of", lambda parts, base=base: base)
        config = replace(CONFIG, num_layers=len(origins), qk_norm=qk_norm)
        card = derived_model.derived_card(nothing, DerivedNetwork(config=config, tensors={}, origins=origins))
        assert card.defaults.pag_layers == found
        assert (card.name, card.family) == (f"base-{len(origins)}-blocks", expected)
        assert card.defaults.base_size == 512
