"""The text encoder against the plain definition: run the whole padded text, then pick SANA's positions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.models.text.padded import encode_padded
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import Gemma2Config, Gemma2ForCausalLM, Gemma2Model, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from sanakit.common.errors import ConfigError
from sanakit.models.text.instructions import SANA_INSTRUCTION
from sanakit.models.text.text_encoder import DIFFUSERS_TEXT, TextEncoder, TextEncoderConfig

PROMPTS = ["A cat", "a", "", "  Two Red apples,  left of a dog ", "🐶 一只猫坐在椅子上", "cat\ncat", "a cat " * 40]
SHORT = TextEncoderConfig(instruction="Draw in detail what is said here.\nUser Prompt: ", max_tokens=12)


def gemma_like_tokenizer() -> PreTrainedTokenizerFast:
    """Words carry their leading space as "▁", a start token comes first, unknown characters fall back to bytes."""
    words = "▁".join(["", *SANA_INSTRUCTION.split(), "A", "cat", "Two", "Red", "apples", "dog", "left", "of"] * 3)
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator([words], trainers.BpeTrainer(vocab_size=900, special_tokens=special))
    tokenizer.decoder = decoders.Replace("▁", " ")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def tiny_model(kind: str, **changes: object) -> Gemma2Model | LlamaModel:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 1000, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3,
    }  # fmt: skip
    if kind == "gemma2":
        return Gemma2Model(Gemma2Config(**(sizes | changes)))
    return LlamaModel(LlamaConfig(**(sizes | changes)))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return gemma_like_tokenizer()


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def whole_encode(encoder: TextEncoder, prompt: str) -> Tensor:
    """Step by step as spec'd: the whole text, no reuse, then positions ``[0] + [-(max_tokens-1)..-1]`` less padding."""
    instruction, max_tokens = encoder.config.instruction_text, encoder.config.max_tokens
    num_instruction = len(encoder.tokenizer.encode(instruction))
    max_length = num_instruction + max_tokens - 2 if instruction else max_tokens
    ids = encoder.tokenizer(instruction + prompt.strip(), truncation=True, max_length=max_length).input_ids
    with torch.no_grad():
        states = encoder.model(torch.tensor([ids])).last_hidden_state
    padded_positions = list(range(max_length))
    kept = [padded_positions[index] for index in [0, *range(-max_tokens + 1, 0)]]
    return states[:, [position for position in kept if position < len(ids)]]


@pytest.mark.parametrize("kind", ["gemma2", "llama"])
@pytest.mark.parametrize("instruction", ["sana", SHORT.instruction, ""])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_reusing_the_instruction_changes_nothing(
    kind: str, instruction: str, prompt: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder = TextEncoder(tiny_model(kind), tokenizer, replace(SHORT, instruction=instruction))
    (condition,) = encoder.encode([prompt])
    expected = whole_encode(encoder, prompt)
    assert condition.embeds.shape == expected.shape
    assert condition.mask.all()
    assert relative_error(condition.embeds, expected) < 1e-5


def test_sliding_window_shorter_than_the_instruction(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = TextEncoder(tiny_model("gemma2", sliding_window=7), tokenizer, SHORT)
    wide = TextEncoder(tiny_model("gemma2"), tokenizer, SHORT)
    for _ in range(2):  # the second round reuses what the first has left behind
        for prompt in ["A cat and a dog", "Two Red apples left of a dog of a cat"]:
            embeds = encoder._encode_alone(prompt, True, encoder._circumstances).embeds
            assert relative_error(embeds, whole_encode(encoder, prompt)) < 1e-5
    assert relative_error(embeds, whole_encode(wide, prompt)) > 1e-3  # so the window really acts


def test_first_word_merges_with_the_trailing_space(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = TextEncoder(tiny_model("llama"), tokenizer, SHORT)
    instruction = tokenizer.encode(SHORT.instruction)
    merged = tokenizer.encode(SHORT.instruction + "cat")
    assert merged[:-1] == instruction[:-1]
    assert merged[-1] != instruction[-1]
    assert encoder.encode(["cat"])[0].embeds.shape[1] == 2  # start token and the merged "▁cat"
    assert encoder.encode(["cat"])[0].embeds.shape[1] == len(tokenizer.encode("▁cat"))


def test_instruction_cut_elsewhere_by_the_prompt_is_not_reused(tokenizer: PreTrainedTokenizerFast) -> None:
    instruction = " app"  # with "les" it becomes one token, so that nothing but the start token is shared
    encoder = TextEncoder(tiny_model("llama"), tokenizer, replace(SHORT, instruction=instruction))
    assert tokenizer.encode(" apples")[1] != tokenizer.encode(" app")[1]
    for prompt in ["les", "les: A cat"]:
        assert relative_error(encoder.encode([prompt])[0].embeds, whole_encode(encoder, prompt)) < 1e-5


@pytest.mark.parametrize("instruction", ["sana", ""])
def test_trimmed_rows_are_the_real_rows_of_the_padded_layout(
    instruction: str, tokenizer: PreTrainedTokenizerFast
) -> None:
    encoder = TextEncoder(tiny_model("gemma2"), tokenizer, replace(SHORT, instruction=instruction))
    padded = encode_padded(encoder, PROMPTS)
    assert padded.embeds.shape == (len(PROMPTS), SHORT.max_tokens, 32)
    for row, condition in enumerate(encoder.encode(PROMPTS)):
        real = padded.embeds[row][padded.mask[row]]
        assert relative_error(condition.embeds[0], real) < 1e-5


def test_null_has_no_instruction(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = TextEncoder(tiny_model("gemma2"), tokenizer, SHORT)
    assert encoder.encode_null().embeds.shape == (1, 1, 32)
    plain = TextEncoder(encoder.model, tokenizer, replace(SHORT, instruction=""))
    torch.testing.assert_close(encoder.encode_null("ugly cat").embeds, plain.encode(["ugly cat"])[0].embeds)
    assert encoder.encode_null("cat " * 50).embeds.shape[1] == SHORT.max_tokens


def test_a_prompt_does_not_depend_on_its_neighbours(tokenizer: PreTrainedTokenizerFast) -> None:
    config = replace(SHORT, num_cached_prompts=0)
    encoder = TextEncoder(tiny_model("gemma2"), tokenizer, config)
    together = encoder.encode(PROMPTS)
    for prompt, condition in reversed(list(zip(PROMPTS, together, strict=True))):
        assert torch.equal(encoder.encode([prompt])[0].embeds, condition.embeds)


def test_grouped_rows_agree_and_keep_their_order(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = TextEncoder(tiny_model("gemma2"), tokenizer, SHORT)
    prompts = [*PROMPTS, "A dog", "A cat", "dog", "left of", "Two"]
    grouped = encoder.encode(prompts, rows_per_call=3)
    for one, other in zip(encoder.encode(prompts), grouped, strict=True):
        assert one.embeds.shape == other.embeds.shape
        assert relative_error(other.embeds, one.embeds) < 1e-5


def test_whole_prompts_are_kept_and_forgotten(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model("llama")
    encoder = TextEncoder(model, tokenizer, replace(SHORT, num_cached_prompts=2))
    num_calls = 0

    def count(*_: object) -> None:
        nonlocal num_calls
        num_calls += 1

    model.register_forward_hook(count)
    first = encoder.encode(["cat"])[0]
    assert num_calls == 2  # the instruction and the prompt
    assert encoder.encode([" cat  "])[0] is first
    assert num_calls == 2
    assert encoder.encode_null("cat") is not first
    assert num_calls == 3
    encoder.encode(["dog"])
    encoder.encode(["cat"])  # was the oldest of three
    assert num_calls == 5
    model.to(torch.bfloat16)  # neither prompt nor instruction may come from the float32 past
    assert encoder.encode(["cat"])[0].embeds.dtype == torch.bfloat16
    assert num_calls == 7


def test_embeds_can_be_trained_on(tokenizer: PreTrainedTokenizerFast) -> None:
    embeds = TextEncoder(tiny_model("llama"), tokenizer, SHORT).encode(["cat"])[0].embeds
    projection = torch.nn.Linear(32, 4)
    projection(embeds).sum().backward()  # tensors made in inference mode would raise here
    assert projection.weight.grad is not None
    assert not embeds.requires_grad


def test_lowercase_is_an_option(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model("llama")
    kept, lowered = TextEncoder(model, tokenizer, SHORT), TextEncoder(model, tokenizer, replace(SHORT, lowercase=True))
    assert torch.equal(lowered.encode(["Red Cat"])[0].embeds, kept.encode(["red cat"])[0].embeds)
    assert not torch.equal(kept.encode(["Red cat"])[0].embeds[:, 1], kept.encode(["red cat"])[0].embeds[:, 1])
    assert DIFFUSERS_TEXT.lowercase
    assert "'Enhanced prompt'" in DIFFUSERS_TEXT.instruction_text


@pytest.mark.parametrize("instruction", ["sana", ""])
def test_counts_tokens_that_are_cut_off(instruction: str, tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = TextEncoder(tiny_model("llama"), tokenizer, replace(SHORT, instruction=instruction))
    for prompt, expected in [("cat", (1, 0)), ("cat " * 11, (11, 0)), ("cat " * 20, (11, 9))]:
        prompt = prompt if instruction else " " + prompt
        kept, dropped = encoder.count_tokens(prompt)
        assert kept == encoder.encode([prompt])[0].embeds.shape[1] - 1
        if instruction:
            assert (kept, dropped) == expected


def test_language_head_is_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    config = tiny_model("gemma2").config
    assert type(TextEncoder(Gemma2ForCausalLM(config), tokenizer, SHORT).model) is Gemma2Model


def test_float16_is_refused_with_the_reason(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConfigError, match=r"float16; it must run in bfloat16 or float32.*black"):
        TextEncoder(tiny_model("llama").half(), tokenizer, SHORT)
    encoder = TextEncoder(tiny_model("llama"), tokenizer, SHORT)
    encoder.model.half()
    with pytest.raises(ConfigError, match="overflow"):
        encoder.encode(["cat"])


def test_foreign_tokenizer_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ConfigError, match="do not belong together"):
        TextEncoder(tiny_model("llama", vocab_size=300), tokenizer, SHORT)


def test_text_without_tokens_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"cat": 0}, unk_token="cat")))
    with pytest.raises(ConfigError, match="no start token"):
        TextEncoder(tiny_model("llama"), bare, SHORT).encode_null("")


@pytest.mark.parametrize(("field", "value"), [("max_tokens", 1), ("num_cached_prompts", -1), ("num_layers", 0)])
def test_impossible_configs_are_refused(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{field}={value}"):
        TextEncoderConfig(**{field: value})


def test_the_least_values_and_what_is_left_out() -> None:
    config = TextEncoderConfig(max_tokens=2, num_cached_prompts=0, num_layers=1)
    assert (config.instruction, config.lowercase) == ("sana", False)
    config = TextEncoderConfig()
    assert (config.max_tokens, config.num_layers, config.num_cached_prompts) == (300, None, 32)
    assert (DIFFUSERS_TEXT.max_tokens, DIFFUSERS_TEXT.instruction) == (300, "diffusers")
    assert TextEncoderConfig(instruction="my own words").instruction_text == "my own words"


def test_it_is_moved_and_measured_as_its_language_model(tokenizer: PreTrainedTokenizerFast) -> None:
    encoder = TextEncoder(tiny_model("llama"), tokenizer, SHORT)
    assert encoder.to("cpu") is encoder
    assert (encoder.hidden_size, encoder.device.type, encoder.compute_dtype) == (32, "cpu", torch.float32)
    assert encoder.state_dict().keys() == encoder.model.state_dict().keys()
    encoder.to("meta")
    assert encoder.device.type == "meta"
