"""Text in pictures: what is asked for, how far another text is from it, and a tiny random recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    TrOCRConfig,
    TrOCRForCausalLM,
    TrOCRProcessor,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from sanakit.common.errors import CheckpointError
from sanakit.scoring.rewards.load import load_reward
from sanakit.scoring.rewards.reward import Rewarded
from sanakit.scoring.rewards.written_text import WrittenText, agreement, edit_distance, quoted


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("same", "same", 0),
        ("ab", "ba", 2),
        ("flaw", "lawn", 2),
    ],
)
def test_edits(first: str, second: str, distance: int) -> None:
    assert edit_distance(first, second) == distance


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('a sign that says "Hot Coffee" and "tea"', "hotcoffee"), ("a sign", None), ('a "" sign', None),
        ("a cup with “Good  Day”", "goodday"), ('half a "quote', None), ('only "   "', None),
    ],
)  # fmt: skip
def test_what_is_asked_for_stands_in_quotes(prompt: str, text: str | None) -> None:
    assert quoted(prompt) == text


@pytest.mark.parametrize(
    ("read", "score"),
    [("Hot Coffee", 1), ("The HOT coffee shop", 1), ("hot cofee", 1 - 1 / 9), ("", 0), ("zzzzzzzzzzzzzzzzzzzzz", 0)],
)
def test_the_share_of_characters_that_are_right(read: str, score: float) -> None:
    assert agreement("hotcoffee", read) == pytest.approx(score)


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That always says one letter."""
    folder = tmp_path_factory.mktemp("trocr")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = ViTModel(ViTConfig(**size, image_size=32, patch_size=16), add_pooling_layer=False)
    text = TrOCRForCausalLM(
        TrOCRConfig(vocab_size=6, d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16,
                    max_position_embeddings=80, cross_attention_hidden_size=16)
    )  # fmt: skip
    network = VisionEncoderDecoderModel(encoder=vision, decoder=text)
    for config in (network.config, network.generation_config):
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 1, 2
    network.save_pretrained(folder)
    tokenizer = Tokenizer(
        models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "b": 4, "<unk>": 5}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    TrOCRProcessor(ViTImageProcessorPil(size={"height": 32, "width": 32}), words).save_pretrained(folder)
    return folder


def test_a_recogniser_reads_each_picture_by_itself(recogniser: Path) -> None:
    reward: Any = load_reward(f"ocr:{recogniser}")
    assert isinstance(reward, WrittenText)
    pictures = [Image.new("RGB", (40, 30), "white"), Image.new("L", (99, 50))]
    prompts = ['a sign "a b"', "a sign"]
    found = reward(pictures, prompts, [{}, {}])
    assert isinstance(found, Rewarded)
    read = [fact["read"] for fact in found.facts]
    assert found.scores["score"] == [pytest.approx(agreement("ab", read[0])), None]
    assert reward(pictures[:1], prompts[:1], [{}]).facts == found.facts[:1]
    assert [reward.fits(prompt, {}) for prompt in prompts] == [True, False]
    pixels = reward.processor(images=[pictures[0]], return_tensors="pt")["pixel_values"]
    said = reward.network.generate(pixels, max_new_tokens=64, do_sample=False, num_beams=1)
    assert read[0] == reward.processor.tokenizer.decode(said[0], skip_special_tokens=True)


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="recogniser"):
        load_reward(f"ocr:{tmp_path}")
