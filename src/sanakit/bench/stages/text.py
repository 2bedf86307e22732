"""A prompt and the empty one to hidden states, by a language model of Gemma-2-2B's shape."""

from __future__ import annotations

import re
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

from sanakit.bench.case import Case, Run
from sanakit.bench.floors import Work
from sanakit.bench.peer import peer_language_model, peer_pipeline, peer_tokenizer
from sanakit.bench.random_weights import draw
from sanakit.bench.settings import BenchSettings
from sanakit.models.network import state_bytes
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.instructions import DIFFUSERS_INSTRUCTION
from sanakit.models.text.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.models.text.text_tokenizer import TextTokenizer
from sanakit.quantization.quantize import quantize_

PROMPT = "a small house by a lake under tall green trees in the light of an early morning, with a boat and two birds"
NUM_WORDS = 24  # of it, which are its tokens here
TEXT = TextEncoderConfig(instruction="diffusers", lowercase=True, num_cached_prompts=0)
"""As diffusers does it; no prompt is kept, so that each call encodes its own."""

_SPECIAL = {"bos_token": "<bos>", "pad_token": "<pad>", "unk_token": "<unk>"}


def text_case(settings: BenchSettings) -> Case:
    """The instruction is read in the first call, which is not counted; diffusers reads it with every prompt."""
    encoder = random_text_encoder(settings)
    prompts, others = ([f"{PROMPT} {word}" for word in words[: settings.batch]] for words in (_COLOURS, _COLOURS[1:]))
    peer = _peer_text(settings, encoder, prompts) if settings.peer else None
    if (scheme := settings.schemes.get("text_encoder")) is not None:
        quantize_(encoder.model, scheme)
    note = f"{settings.text_shape.num_layers} layers"
    if settings.text_layers is not None:
        note += f"; Gemma-2-2B has {settings.shape.text.num_layers}"
    return Case(
        ours=lambda: _encoded(encoder, prompts),
        peer=peer,
        control=lambda: _encoded(encoder, others),
        work=text_work(settings),
        weights=state_bytes(encoder.model.state_dict()),
        note=f"{note}, an instruction of {len(encoder.tokenizer.encode(DIFFUSERS_INSTRUCTION))} tokens",
    )


def random_text_encoder(settings: BenchSettings) -> TextEncoder:
    """Of the shape's layers, or the first ``text_layers`` of them; its table has the words of the bench alone."""
    config, dtype = settings.text_shape, settings.text_dtype
    with torch.device("meta"):
        model = Decoder(config)
    norm = 0.0 if config.is_gemma else 1.0  # of which Gemma keeps the difference from 1
    drawn = {
        name: draw(name, tuple(tensor.shape), settings.seed, dtype, norm=norm).to(settings.device)
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(drawn, assign=True)
    return TextEncoder(model, TextTokenizer(tokenizer_of_words(), _SPECIAL), TEXT)


def tokenizer_of_words() -> Tokenizer:
    """A token for every word and mark of the instruction and the prompts."""
    words = re.findall(r"\w+|[^\w\s]+", " ".join([DIFFUSERS_INSTRUCTION, DIFFUSERS_INSTRUCTION.lower(), PROMPT]))
    names = [*_SPECIAL.values(), *dict.fromkeys([*words, *_COLOURS])]
    tokenizer = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return tokenizer


def text_work(settings: BenchSettings) -> Work:
    """The products with the layers' weights, for the tokens of the prompts and of the empty one alone."""
    with torch.device("meta"):
        layers = Decoder(settings.text_shape).layers
    num_weights = sum(parameter.numel() for parameter in layers.parameters())
    num_tokens = settings.batch * (NUM_WORDS + 1) + 1
    return Work(flops=2.0 * num_weights * num_tokens, bytes=float(num_weights * settings.text_dtype.itemsize))


def _encoded(encoder: TextEncoder, prompts: list[str]) -> Tensor:
    """``(1, L, C)``: all prompts one after the other, then the empty one."""
    texts = [*encoder.encode(prompts), encoder.encode_null("")]
    return torch.cat([text.embeds for text in texts], dim=1)


def _peer_text(settings: BenchSettings, encoder: TextEncoder, prompts: list[str]) -> Run:
    pipeline: Any = peer_pipeline(
        tokenizer=peer_tokenizer(tokenizer_of_words(), _SPECIAL), text_encoder=peer_language_model(encoder.model)
    )

    def encode() -> Tensor:
        embeds, mask, null, null_mask = pipeline.encode_prompt(
            prompts,
            do_classifier_free_guidance=True,
            device=settings.device,
            complex_human_instruction=[DIFFUSERS_INSTRUCTION],
        )
        return torch.cat([embeds[mask.bool()], null[:1][null_mask[:1].bool()]])[None]

    return encode


_COLOURS = ["red", "blue", "green", "yellow", "black", "white", "brown", "grey", "pink"] * 8
