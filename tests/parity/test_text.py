"""Text conditioning against diffusers' ``SanaPipeline.encode_prompt`` on tiny random language models."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch
from diffusers import SanaPipeline
from tests.models.text.padded import encode_padded
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import Gemma2Config, Gemma2Model, LlamaConfig, LlamaModel, PreTrainedModel, PreTrainedTokenizerFast

from sanakit.models.text.instructions import DIFFUSERS_INSTRUCTION
from sanakit.models.text.text_encoder import DIFFUSERS_TEXT, TextEncoder

PROMPTS = ["A Cat", "", "🐶 一只猫 sitting", "Two red apples left of a dog. " * 30]
NEGATIVES = ["", "Blurry, ugly cat", "猫", "bad " * 400]
SIZES = {
    "vocab_size": 900, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Gemma's way: a space belongs to the word after it, so that the instruction's last space merges."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([DIFFUSERS_INSTRUCTION + " a cat two red apples left of a dog bad"] * 2, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", pad_token="<pad>", unk_token="<unk>")


@pytest.fixture(scope="module", params=["gemma2", "llama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    kind = Gemma2Model(Gemma2Config(**SIZES)) if request.param == "gemma2" else LlamaModel(LlamaConfig(**SIZES))
    return kind.eval()


def published_instruction() -> list[str]:
    """The instruction that a plain call of diffusers' pipeline uses."""
    default = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    assert isinstance(default, list)
    return default


def peer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> SanaPipeline:
    return SanaPipeline(tokenizer=tokenizer, text_encoder=model, vae=None, transformer=None, scheduler=None)


def assert_near(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    assert float((actual - expected).norm() / expected.norm()) < 1e-5


def test_instruction_is_that_of_diffusers() -> None:
    assert "\n".join(published_instruction()) == DIFFUSERS_INSTRUCTION


@torch.no_grad()
def test_layout_and_trimmed_rows_agree(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    theirs = peer(model, tokenizer).encode_prompt(
        PROMPTS, True, NEGATIVES, device=torch.device("cpu"), complex_human_instruction=published_instruction()
    )
    embeds, mask, negative_embeds, negative_mask = theirs
    encoder = TextEncoder(model, tokenizer, DIFFUSERS_TEXT)

    padded = encode_padded(encoder, PROMPTS)
    assert padded.embeds.shape == (4, 300, 32)
    assert torch.equal(padded.mask, mask.bool())
    assert_near(padded.embeds, embeds)
    negative = encode_padded(encoder, NEGATIVES, with_instruction=False)
    assert torch.equal(negative.mask, negative_mask.bool())
    assert_near(negative.embeds, negative_embeds)

    for row, condition in enumerate(encoder.encode(PROMPTS)):
        assert_near(condition.embeds[0], embeds[row][mask[row].bool()])
    for row, text in enumerate(NEGATIVES):
        assert_near(encoder.encode_null(text).embeds[0], negative_embeds[row][negative_mask[row].bool()])


@torch.no_grad()
@pytest.mark.parametrize("instruction", ["", "Draw this.\nUser Prompt: "])
def test_other_lengths_and_instructions_agree(
    instruction: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder = TextEncoder(model, tokenizer, replace(DIFFUSERS_TEXT, instruction=instruction, max_tokens=20))
    for prompt in PROMPTS:  # one by one: several prompts at once must not matter to us
        embeds, mask, *_ = peer(model, tokenizer).encode_prompt(
            prompt, False, device=torch.device("cpu"), max_sequence_length=20,
            complex_human_instruction=instruction.split("\n") if instruction else None,
        )  # fmt: skip
        assert_near(encode_padded(encoder, [prompt]).embeds, embeds)
        assert_near(encoder.encode([prompt])[0].embeds[0], embeds[0][mask[0].bool()])
