"""``sanakit quantize``, and that pictures are made with what it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanakit.checkpoints.identity.card import read_card


@pytest.mark.parametrize(
    "words",
    [
        ("--scheme", "transformer=svdquant,autoencoder=int8,text_encoder=int8", "--steps", 1),
        ("--budget", "300kB", "--steps", 1),
    ],
)
def test_pictures_are_made_and_made_again_with_every_folder(run, tiny_model: Path, words: tuple[object, ...]) -> None:
    made = run("quantize", tiny_model, "narrow", *words)
    assert made.code == 0, made.err
    card = read_card(Path("narrow"))
    assert card is not None
    assert card.quantization
    assert run("info", "narrow", "--verify").code == 0
    drawn = run("generate", "a cat", "--model", "narrow", "--steps", 1, "--output", "a.png")
    assert drawn.code == 0, drawn.err
    again = run("replay", "a.png", "--model", "narrow")
    assert again.code == 0, again.err


def test_a_transformer_alone(run, tiny_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = run("quantize", tiny_model / "transformer", "narrow", "--scheme", "int8")
    assert made.code == 0
    assert "has no autoencoder, so none is quantized" in caplog.text
    assert not Path("narrow/vae").exists()
    outcome = run("quantize", tiny_model / "transformer", "other", "--scheme", "autoencoder=int8")
    assert (outcome.code, Path("other").exists()) == (2, False)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--scheme", ""), "no way to quantize called ''"),
        (("--scheme", "int9"), "did you mean int8"),
        (("--scheme", "transformer=plain"), "leaves everything as it is"),
        (("--scheme", "transformer=int8,transformer=nf4"), "names transformer twice"),
        (("--scheme", "text-encoder=svdquant"), "text_encoder=svdquant cannot be"),
        (("--scheme", "autoencoder=svdquant"), "autoencoder=svdquant cannot be"),
        (("--scheme", "int8", "--steps", 3), "--steps does nothing here"),
        (("--scheme", "int8", "--device", "cpu"), "--device does nothing here"),
        (("--scheme", "int8", "--dtype", "float8"), "--dtype does nothing here"),
        (("--scheme", "int8", "--prompts", "none.txt"), "--prompts does nothing here"),
        (("--budget", "1kB", "--steps", 1), "more than a budget of 1.0 kB"),
        (("--scheme", "int8", "--budget", "1MB"), "and not both"),
    ],
)
def test_what_cannot_be_is_one_sentence(run, tiny_model: Path, words: tuple[object, ...], sentence: str) -> None:
    outcome = run("quantize", tiny_model, "narrow", *words)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert not Path("narrow").exists()
