"""The scorer: what it accepts and refuses, that it repeats itself, its files, and the weights that ship."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import LlamaModel, PreTrainedTokenizerFast

from sanakit.common.errors import CheckpointError, ConfigError, RequestError
from sanakit.models.dual_encoder import DualEncoder, DualEncoderConfig
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.scoring.dual_encoder import (
    PATCH_CHANNELS,
    DualEncoderScorer,
    PictureReader,
    _patches,
    _pixels,
    load_dual_encoder,
    load_starter_scorer,
    save_dual_encoder,
    scorer_text,
)
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.sampling.worded_scenes import Words, scene_of
from sanakit.worlds.scenes.description import Ground

SHIPPED = Path(str(resources.files("sanakit").joinpath("starter", "dual_encoder")))
STATES = Path(__file__).with_name("dual_encoder_text_states.safetensors")  # of the real language model, bfloat16


@pytest.fixture(scope="module")
def tiny(tiny_language_model: LlamaModel, tiny_tokenizer: PreTrainedTokenizerFast) -> DualEncoderScorer:
    torch.manual_seed(0)
    config = DualEncoderConfig(
        picture_channels=PATCH_CHANNELS, num_patches=16, text_channels=32, hidden_size=16, head_dim=8, embed_size=8,
        num_picture_layers=1, num_text_layers=1,
    )  # fmt: skip
    return DualEncoderScorer(DualEncoder(config), TextEncoder(tiny_language_model, tiny_tokenizer, scorer_text(config)))


def picture(name: str, size: int = 128) -> Image.Image:
    return drawn(Words(names=(name,), style="flat"), size=size)


def drawn(words: Words, *, seed: int = 0, size: int = 128) -> Image.Image:
    bank = load_bank("tiny")
    scene = scene_of(words, bank, np.random.default_rng(seed))
    assert scene is not None
    return Image.fromarray(compose(scene, bank, size))


def test_scores_are_logits_of_pairs_and_repeat(tiny: DualEncoderScorer) -> None:
    pictures, texts = [picture("cat"), picture("dog"), picture("cat")], ["a cat", "a cat", "a dog"]
    scores = tiny.score(pictures, texts)
    assert len(scores) == 3
    assert scores == tiny.score(pictures, texts)
    for score, image, text in zip(scores, pictures, texts, strict=True):
        assert score == pytest.approx(tiny.score([image], [text])[0], abs=1e-4)
    vectors = tiny.embed_pictures(pictures), tiny.embed_texts(texts)
    assert vectors[0].shape == vectors[1].shape == (3, 8)
    expected = 10 * (vectors[0].double() * vectors[1].double()).sum(-1) - 5
    assert scores == pytest.approx(expected.tolist(), abs=1e-4)


def test_more_pictures_than_a_batch(tiny: DualEncoderScorer) -> None:
    small = picture("star", 40)
    scores = tiny.score([small] * 35, ["a star"] * 35)
    assert scores == pytest.approx([scores[0]] * 35, abs=1e-4)


def test_any_size_and_mode(tiny: DualEncoderScorer) -> None:
    base = picture("apple")
    with_alpha = base.convert("RGBA")
    with_alpha.putpixel((0, 0), (255, 0, 0, 0))  # a transparent pixel lies on white, as the canvas is
    palette = base.quantize(256)
    others = [with_alpha, palette, base.resize((200, 90)), base.convert("L"), base.convert("CMYK")]
    vectors = tiny.embed_pictures([base, *others])
    assert torch.isfinite(vectors).all()
    torch.testing.assert_close(vectors[1], vectors[0], atol=1e-4, rtol=0)


def test_what_does_not_fit_is_refused(tiny: DualEncoderScorer) -> None:
    with pytest.raises(RequestError, match="each picture needs one text"):
        tiny.score([picture("cat")], ["a", "b"])
    assert tiny.score([], []) == []
    other = DualEncoder(DualEncoderConfig(picture_channels=PATCH_CHANNELS, num_patches=16, text_channels=7))
    with pytest.raises(ConfigError, match="do not belong together"):
        DualEncoderScorer(other, tiny.text_encoder)


def test_patches_keep_their_place() -> None:
    """A black square in the third row, second column changes the colours of that patch and of no other."""
    images = torch.ones(2, 3, 128, 128)
    images[1, :, 64:96, 32:64] = 0
    patches = PictureReader()(images)
    assert patches.shape == (2, 16, PATCH_CHANNELS)
    colours = patches[..., -192:]
    changed = (colours[0] != colours[1]).any(-1).nonzero().flatten().tolist()
    assert changed == [2 * 4 + 1]
    torch.testing.assert_close(colours[1, 9], torch.zeros(192))


def test_saved_and_loaded_is_the_same_in_bfloat16(tiny: DualEncoderScorer, tmp_path: Path) -> None:
    save_dual_encoder(tiny.model, tmp_path)
    loaded = load_dual_encoder(tmp_path)
    assert loaded.config == tiny.model.config
    for name, tensor in tiny.model.state_dict().items():
        exact = name in ("log_scale", "bias") or name.endswith((".mean", ".std"))
        expected = tensor if exact else tensor.bfloat16().float()
        torch.testing.assert_close(loaded.state_dict()[name], expected, rtol=0, atol=0)


def test_damaged_files_are_one_sentence(tiny: DualEncoderScorer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no dual encoder"):
        load_dual_encoder(tmp_path / "none")
    save_dual_encoder(tiny.model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 24}))
    with pytest.raises(CheckpointError, match="does not fit its config") as error:
        load_dual_encoder(tmp_path)
    assert "\n" not in str(error.value)
    (tmp_path / "config.json").write_text(json.dumps({"hidden": 1}))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_dual_encoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    shutil.copy(SHIPPED / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_dual_encoder(tmp_path)


class StoredStates:
    """Stands in for the language model: what it says of a few texts, stored."""

    hidden_size = 576

    def __init__(self) -> None:
        self.states = load_file(STATES)

    def encode(self, texts: list[str]) -> list[TextCondition]:
        rows = [self.states[text][None].float() for text in texts]
        return [TextCondition(row, torch.ones(row.shape[:2], dtype=torch.bool)) for row in rows]


WORDS = {
    "a cat": Words(names=("cat",), style="flat"),
    "a house": Words(names=("house",), style="flat"),
    "a purple cat": Words(names=("cat",), colour="purple", style="flat"),
    "two stars": Words(names=("star",), count=2, style="flat"),
    "four stars": Words(names=("star",), count=4, style="flat"),
    "a cat on a blue background": Words(names=("cat",), ground=Ground(name="blue"), style="flat"),
}
WRONG = [  # of the picture of the first text, the second is wrong by: object, colour, count, background
    ("a cat", "a house"), ("a house", "a cat"), ("a cat", "a purple cat"), ("two stars", "four stars"),
    ("four stars", "two stars"), ("a cat", "a cat on a blue background"), ("a cat on a blue background", "a cat"),
]  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> DualEncoderScorer:
    stand_in: Any = StoredStates()
    return load_starter_scorer(text_encoder=stand_in)


@pytest.mark.parametrize(("own", "wrong"), WRONG)
def test_the_weights_that_ship_prefer_the_right_caption(shipped: DualEncoderScorer, own: str, wrong: str) -> None:
    image = drawn(WORDS[own], seed=1)
    right, other = shipped.score([image, image], [own, wrong])
    assert right > other


def test_the_file_that_ships_is_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 3.5e6
    assert isinstance(load_dual_encoder(str(SHIPPED)).config, DualEncoderConfig)


@pytest.mark.network
def test_stored_states_are_the_language_models(shipped: DualEncoderScorer) -> None:
    from sanakit.scoring.dual_encoder import load_scorer_text_encoder

    encoder, stored = load_scorer_text_encoder(shipped.model.config), StoredStates().states
    for text, states in stored.items():
        torch.testing.assert_close(encoder.encode([text])[0].embeds[0].float(), states.float(), atol=0.05, rtol=0.05)


def test_the_registry_name_is_wired(monkeypatch: pytest.MonkeyPatch) -> None:
    from sanakit.scoring import dual_encoder, scorers

    seen = SimpleNamespace(device=None)
    monkeypatch.setattr(dual_encoder, "load_starter_scorer", lambda *, device: seen.__setattr__("device", device))
    scorers.load_scorer("starter", device="cpu")
    assert seen.device == "cpu"


def test_how_the_language_model_reads_for_the_towers(tiny: DualEncoderScorer) -> None:
    sizes = {"picture_channels": 1, "num_patches": 1, "text_channels": 1}
    for positions, tokens in ((0, 64), (63, 64), (64, 64), (65, 65), (300, 300)):
        text = scorer_text(DualEncoderConfig(**sizes, num_text_positions=positions, num_language_layers=7))
        assert (text.max_tokens, text.instruction, text.num_layers) == (tokens, "", 7)
    assert PATCH_CHANNELS == 4 * 40 + 4 * 112 + 320 + 3 * 8 * 8 == 1120
    assert (tiny.cuts("x" * 63), tiny.cuts("x" * 64)) == (False, True)  # a token a byte, after the first


def test_a_patch_holds_its_square_channel_by_channel() -> None:
    part = torch.arange(2 * 8 * 8).view(1, 2, 8, 8)
    patches = _patches(part)
    assert patches.shape == (1, 16, 8)
    assert patches[0, 0].tolist() == [0, 1, 8, 9, 64, 65, 72, 73]
    assert patches[0, 1].tolist() == [2, 3, 10, 11, 66, 67, 74, 75]  # to the right first
    assert patches[0, 4].tolist() == [16, 17, 24, 25, 80, 81, 88, 89]


def test_features_of_a_patch_are_maps_of_three_sizes_and_its_colours() -> None:
    reader, images = PictureReader(), torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        fine, middle, coarse = reader.network.stages(images * 2 - 1)[2:]
    halved = fine.unflatten(3, (8, 2)).unflatten(2, (8, 2)).mean((3, 5))
    colours = images.unflatten(3, (32, 4)).unflatten(2, (32, 4)).mean((3, 5))
    expected = torch.cat([_patches(part) for part in (halved, middle, coarse, colours)], dim=-1)
    torch.testing.assert_close(reader(images), expected, rtol=1e-4, atol=1e-4)


def test_transparency_lies_on_white() -> None:
    for mode, colour in (("RGBA", (255, 0, 0, 0)), ("LA", (0, 0)), ("RGB", "white")):
        torch.testing.assert_close(_pixels(Image.new(mode, (20, 30), colour)), torch.ones(1, 3, 128, 128))
    half = _pixels(Image.new("RGBA", (128, 128), (255, 0, 0, 51)))
    torch.testing.assert_close(half[0, :, 5, 5], torch.tensor([1.0, 0.8, 0.8]), atol=5e-3, rtol=0)


def test_pictures_of_several_batches_stay_in_order(tiny: DualEncoderScorer) -> None:
    others = [Image.new("RGB", (16, 16), (7 * number, 0, 255 - 7 * number)) for number in range(33)]
    together = tiny.embed_pictures(others)
    for place in (0, 31, 32):
        torch.testing.assert_close(together[place], tiny.embed_pictures([others[place]])[0], atol=1e-4, rtol=0)
