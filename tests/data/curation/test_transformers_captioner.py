"""Tiny vision-language models with random weights, saved and opened as real ones are. No torchvision is there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from sanakit.common.errors import ConfigError
from sanakit.data.curation.captioners import check_captioner
from sanakit.data.curation.config import TransformersCaptions
from sanakit.data.curation.transformers_captioner import TransformersCaptioner

PICTURES = [Image.new("RGB", (30, 20), color) for color in ("red", "blue", "yellow")]
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}"
    "{% endif %}{% endfor %}{% endfor %}:"
)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {token: index for index, token in enumerate(["<pad>", "<bos>", "<eos>", "<image>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, tokenizer = tmp_path_factory.mktemp("llava"), byte_tokenizer()
    torch.manual_seed(0)
    tiny: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    LlavaForConditionalGeneration(LlavaConfig(
        vision_config=CLIPVisionConfig(**tiny, num_hidden_layers=2, image_size=16, patch_size=8),
        text_config=LlamaConfig(
            **tiny, vocab_size=len(tokenizer), num_hidden_layers=1, num_key_value_heads=2, initializer_range=0.3,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        ),
        image_token_index=3, image_seq_length=4,
    )).save_pretrained(folder)  # fmt: skip
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    LlavaProcessor(
        pictures, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, tokenizer = tmp_path_factory.mktemp("blip"), byte_tokenizer()
    torch.manual_seed(0)
    tiny: dict[str, Any] = {
        "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
    }  # fmt: skip
    text = {
        **tiny, "vocab_size": len(tokenizer), "encoder_hidden_size": 16, "max_position_embeddings": 64,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
    }  # fmt: skip
    vision = {**tiny, "image_size": 16, "patch_size": 8}
    BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 16, "width": 16}), tokenizer).save_pretrained(folder)
    return folder


def config(folder: Path, **settings: Any) -> TransformersCaptions:
    values = {"prompt": "Describe", "max_new_tokens": 6, "batch_size": 2} | settings
    return TransformersCaptions(source="tiny", model=str(folder), **values)


def test_a_chat_model_answers_about_each_picture_without_repeating_the_prompt(llava: Path) -> None:
    captioner = TransformersCaptioner(config(llava))
    together = captioner(PICTURES)
    assert len(together) == len(set(together)) == 3  # it looks at the pictures
    assert all(text and "Describe" not in text for text in together)
    assert together == [captioner([picture])[0] for picture in PICTURES]
    assert together == TransformersCaptioner(config(llava))(PICTURES)


def test_the_answer_is_the_models_own_greedy_one(llava: Path) -> None:
    """Token by token from the logits, without ``generate``."""
    captioner = TransformersCaptioner(config(llava))
    processor, model = captioner._processor, captioner._model
    inputs = processor(images=PICTURES[:1], text="<image>Describe:", return_tensors="pt")
    ids, answer = inputs["input_ids"], []
    for _ in range(6):
        with torch.inference_mode():
            logits = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0, -1]
        answer.append(int(logits.argmax()))
        if answer[-1] == 2:
            break
        ids = torch.cat([ids, torch.tensor([[answer[-1]]])], dim=1)
    assert captioner(PICTURES[:1]) == [processor.tokenizer.decode(answer, skip_special_tokens=True).strip()]


def test_blip_goes_on_from_the_prompt_or_from_nothing(blip: Path) -> None:
    prompted = TransformersCaptioner(config(blip, prompt="a photo of"))(PICTURES)
    assert all(text.startswith("photo o") for text in prompted)  # it puts its own marks in place of both ends
    assert len(TransformersCaptioner(config(blip, prompt=""))(PICTURES)) == 3


def test_half_precision_changes_the_weights_only(llava: Path) -> None:
    captioner = TransformersCaptioner(config(llava, dtype="bfloat16"))
    assert captioner._model.dtype == torch.bfloat16
    assert len(captioner(PICTURES)) == 3


def test_what_is_no_such_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny cannot open .* as a vision-language model"):
        check_captioner(config(tmp_path))
    with pytest.raises(ConfigError, match="tiny cannot open"):
        TransformersCaptioner(config(tmp_path))
    small = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    LlamaForCausalLM(small).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="it is a llama model, which does not describe pictures"):
        check_captioner(config(tmp_path))
