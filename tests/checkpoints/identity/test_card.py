"""Model cards: what is written, and what 0.1.0 has written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sanakit.checkpoints.identity.card import (
    PUBLISHED_TEXT_ENCODER,
    SMALL_TEXT_ENCODER,
    ImageDefaults,
    ModelCard,
    card_from_json,
    card_to_json,
)
from sanakit.checkpoints.identity.precision import OWN_LINE
from sanakit.common.errors import CheckpointError

OLD: dict[str, Any] = {  # as 0.1.0 writes a card, entry by entry
    "name": "mine",
    "family": "starter",
    "base_size": 128,
    "precision": {
        "transformer": ["bfloat16", "float32"],
        "autoencoder": ["bfloat16", "float32"],
        "text_encoder": ["bfloat16", "float32"],
        "reason": OWN_LINE.reason,
    },
    "flow_shift": 2.0,
    "solver": "flow-euler",
    "num_inference_steps": 20,
    "guidance_scale": 4.5,
    "pag_layers": [4],
    "text": {"max_tokens": 77, "instruction": "x", "lowercase": False},
    "licence": "Apache-2.0",
    "trained_from": "",
    "hashes": {"transformer": "a", "autoencoder": "b", "text_encoder": ""},
}


def test_an_old_card_is_read_and_written_as_it_was() -> None:
    card = card_from_json(OLD, where="x")
    assert card.defaults == ImageDefaults(base_size=128, flow_shift=2.0, solver="flow-euler", pag_layers=(4,))
    assert card.precision == OWN_LINE
    assert (card.text_encoder, card.distilled) == (SMALL_TEXT_ENCODER, False)
    assert not card.model_hash
    assert list(card_to_json(card).items()) == [
        *OLD.items(),
        ("format", 1),
    ]  # the order too: converted files keep their bytes
    without = card_to_json(replace(card, hashes={"transformer": "a"}))
    assert without["hashes"] == {"transformer": "a", "autoencoder": "", "text_encoder": ""}


@pytest.mark.parametrize(
    ("family", "text_encoder", "distilled"),
    [("sana", PUBLISHED_TEXT_ENCODER, False), ("sana-sprint", PUBLISHED_TEXT_ENCODER, True)],
)
def test_what_a_family_meant(family: str, text_encoder: str, distilled: bool) -> None:
    card = card_from_json(OLD | {"family": family}, where="x")
    assert (card.text_encoder, card.distilled) == (text_encoder, distilled)
    few = {"solver": "scm", "num_inference_steps": 2, "pag_layers": []} if distilled else {}  # earlier: its teacher's
    assert card_to_json(card) == OLD | {"family": family, "format": 1} | few


def test_a_newer_card_is_called_newer() -> None:
    with pytest.raises(CheckpointError, match=r"card x is of format 2, and this sanakit .* reads up to 1: it is newer"):
        card_from_json(OLD | {"format": 2, "base_size": {"w": 3}}, where="x")
    with pytest.raises(CheckpointError, match=r"an entry 'new_field' that this sanakit .* does not know; a newer"):
        card_from_json(OLD | {"new_field": 1}, where="x")
    with pytest.raises(CheckpointError, match=r"format='two' must be a whole number"):
        card_from_json(OLD | {"format": "two"}, where="x")


def test_what_no_family_tells_is_written() -> None:
    card = ModelCard(
        name="new", family="sana", defaults=ImageDefaults(base_size=64), precision=OWN_LINE, text_encoder="some/model"
    )
    content = card_to_json(card)
    assert content["text_encoder"] == "some/model"
    assert "distilled" not in content
    assert card_from_json(content, where="x") == card
    small = replace(card, text_encoder=SMALL_TEXT_ENCODER)
    assert card_from_json(card_to_json(small), where="x") == small


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"base_size": "big"}, "base_size"),
        ({"colour": 1}, "colour"),
        ({"solver": "magic"}, "magic"),
        ({"precision": {"transformer": ["int3"]}}, "int3"),
        ({"precision": {"transformer": ["float32"], "transfomer": ["float32"]}}, "x: precision.*transfomer"),
        ({"precision": {"autoencoder": ["float32"]}}, "which dtypes the transformer works in"),
        ({"precision": 3}, "model card"),
        ({"family": "other"}, "family"),
        ({"quantization": "int8"}, "x.quantization='int8' must be a mapping"),
        ({"quantization": {"text_encoder": 3}}, "x.quantization.text_encoder=3 must be of type str"),
        ({"quantization": {"text_encoder": "fp2"}}, "card x: there is no way to quantize called 'fp2'"),
        ({"quantization": {"text_encoder": "svdquant"}}, "text_encoder=svdquant cannot be"),
        ({"hashes": {"transformer": None}}, "x.hashes.transformer=None"),
    ],
)
def test_a_wrong_entry_is_told(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        card_from_json(OLD | change, where="x")
