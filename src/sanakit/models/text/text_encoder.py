"""Prompts to hidden states of a decoder-only language model, in SANA's layout.

The instruction is put before the prompt, the whole text is run through the model, and the first token and the
prompt's own tokens are kept. The layout is that of the upstream code to the index:

    max_length = num_instruction_tokens + max_tokens - 2      # the padded length of instruction + prompt
    kept       = [0] + [-(max_tokens - 1), ..., -1]           # positions of that length

so the kept window is position 0 and everything from position ``num_instruction_tokens - 1`` on: the instruction's
last token, a lone space, normally merges with the first word of the prompt and thereby belongs to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.text.decoder import Decoder
from sanakit.models.text.encoded_prefix import EncodedPrefix
from sanakit.models.text.instructions import INSTRUCTIONS
from sanakit.models.text.language_model import LanguageModel, attention_of, every_state, hidden_states
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_tokenizer import TextTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True, slots=True)
class TextEncoderConfig:
    """How prompts become tokens. The defaults are upstream SANA's; diffusers' habits are options by name."""

    max_tokens: int = 300  # positions that the network sees, the first token included
    instruction: str = "sana"  # a name in INSTRUCTIONS, a text of one's own, or "" for none
    num_layers: int | None = None  # of the language model, from the first one; None: all. Its last norm follows them
    lowercase: bool = False  # diffusers lower-cases every prompt, which the models were not trained on
    num_cached_prompts: int = 32  # whole prompts kept; a kept prompt of 30 Gemma-2 tokens is 0.14 MB in bf16

    def __post_init__(self) -> None:
        if self.max_tokens < 2:
            raise ConfigError(f"max_tokens={self.max_tokens} leaves no room for a prompt; use 2 or more (SANA: 300)")
        if self.num_layers is not None and self.num_layers < 1:
            raise ConfigError(f"num_layers={self.num_layers} leaves nothing of the language model; use 1 or more")
        if self.num_cached_prompts < 0:
            raise ConfigError(f"num_cached_prompts={self.num_cached_prompts} is negative; 0 keeps none")

    @property
    def instruction_text(self) -> str:
        """The instruction itself, whether it was given by name or in full."""
        return INSTRUCTIONS.get(self.instruction, self.instruction)


_WITHOUT_END = 1_000_000_000  # tokens; transformers warns of a long text that is given no length
DIFFUSERS_TEXT = TextEncoderConfig(instruction="diffusers", lowercase=True)


_Circumstances = tuple[torch.dtype, torch.device, int, str]
"""What the last bits of embeds depend on: dtype, device, threads and attention."""


class TokenCount(NamedTuple):
    """Tokens of one prompt: those that fit and those that were cut off its end."""

    kept: int
    dropped: int


class TextEncoder:
    """A causal language model and its tokenizer as an encoder of prompts.

    Args:
        model: our ``Decoder``, or a decoder stack of transformers, with or without its language head, which is left
            out. It must run in bfloat16 or float32: activations of Gemma-2 overflow float16 and the pictures turn
            black (diffusers#10241).
        tokenizer: the tokenizer that belongs to it, ours or one of transformers.
        config: instruction, lengths and the size of the prompt cache.

    Every prompt is encoded by itself, so its embeds do not depend on the prompts beside it.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: TextTokenizer | PreTrainedTokenizerBase,
        config: TextEncoderConfig | None = None,
    ) -> None:
        self.config = config or TextEncoderConfig()
        given: Any = model
        bare = given.get_decoder() if hasattr(given, "lm_head") else given
        self.model: LanguageModel = bare.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        if len(tokenizer) > self.model.config.vocab_size:
            raise ConfigError(
                f"the tokenizer has {len(tokenizer)} tokens and the language model knows "
                f"{self.model.config.vocab_size}; they do not belong together"
            )
        self._refuse_float16()
        instruction = self.config.instruction_text
        self._instruction_ids: list[int] = tokenizer.encode(instruction) if instruction else []
        self._prefix = lru_cache(maxsize=1)(self._encode_prefix)
        self._encode_kept = lru_cache(maxsize=self.config.num_cached_prompts)(self._encode_alone)

    @property
    def hidden_size(self) -> int:
        """Channels ``C`` of the embeds."""
        return int(self.model.config.hidden_size)

    @property
    def num_layers(self) -> int:
        """Of the language model, as far as it is here."""
        config: Any = self.model.config
        return int(config.num_layers if isinstance(self.model, Decoder) else config.num_hidden_layers)

    @property
    def compute_dtype(self) -> torch.dtype:
        """Of the hidden states; that of norms, whatever the table of embeddings and matrices are kept in."""
        return next(parameter.dtype for parameter in self.model.parameters() if parameter.ndim == 1)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def _circumstances(self) -> _Circumstances:
        return self.compute_dtype, self.device, torch.get_num_threads(), self.attention

    @property
    def libraries(self) -> tuple[str, ...]:
        """Those that compute its numbers beside torch."""
        return () if isinstance(self.model, Decoder) else ("transformers",)

    @property
    def attention(self) -> str:
        """Which of its implementations computes the attention, as transformers calls it."""
        return attention_of(self.model)

    def state_dict(self) -> dict[str, Tensor]:
        """Of the language model."""
        return self.model.state_dict()

    def to(self, device: torch.device | str) -> TextEncoder:
        """Move the language model; cached prompts are made anew there."""
        network: torch.nn.Module = self.model
        network.to(device)
        return self

    def encode(self, prompts: Sequence[str], *, rows_per_call: int = 1) -> list[TextCondition]:
        """The embeds of each prompt after the instruction, at its own length.

        Args:
            prompts: any texts; "" is allowed.
            rows_per_call: more than 1 runs prompts with the same number of tokens together. That is several times
                faster for a data set, and equal only up to rounding; pictures are made with 1.

        Returns:
            One ``(1, L, C)`` per prompt with ``L <= max_tokens``, without padding. Read them, do not write: they are
            shared with the cache.
        """
        texts = [self._clean(prompt) for prompt in prompts]
        if rows_per_call == 1:
            return [self._encode_kept(text, True, self._circumstances) for text in texts]
        return self._encode_grouped(texts, rows_per_call)

    def encode_one(self, text: str, with_instruction: bool) -> TextCondition:
        """A prompt, or a text without the instruction before it."""
        return self.encode([text])[0] if with_instruction else self.encode_null(text)

    def encode_null(self, negative: str = "") -> TextCondition:
        """The embeds of the unconditional branch ``(1, L, C)``: no instruction, every position kept."""
        return self._encode_kept(self._clean(negative), False, self._circumstances)

    def count_tokens(self, prompt: str, *, with_instruction: bool = True) -> TokenCount:
        """How many tokens of ``prompt`` (after the first, which starts every text) are used, and how many are cut."""
        num_tokens = len(self._ids(self._clean(prompt), with_instruction, _WITHOUT_END))
        num_fitting = min(num_tokens, self._max_length(with_instruction))
        return TokenCount(max(num_fitting - max(self._first_kept(with_instruction), 1), 0), num_tokens - num_fitting)

    @torch.no_grad()
    @own_arithmetic()
    def every_state(self, prompt: str) -> Tensor:
        """The embeddings of a prompt's tokens and what each layer makes of them, the last ones normed, ``(1, L, C,
        num_layers + 1)``; no instruction stands before them."""
        ids = self._tokens(self._clean(prompt), False)
        return every_state(self.model, torch.tensor([ids], device=self.device))

    def _clean(self, prompt: str) -> str:
        return prompt.strip().lower() if self.config.lowercase else prompt.strip()

    def _max_length(self, with_instruction: bool) -> int:
        if with_instruction and self._instruction_ids:
            return len(self._instruction_ids) + self.config.max_tokens - 2
        return self.config.max_tokens

    def _first_kept(self, with_instruction: bool) -> int:
        """Kept are position 0 and all from this one on."""
        return max(len(self._instruction_ids) - 1, 0) if with_instruction else 0

    def _tokens(self, text: str, with_instruction: bool) -> list[int]:
        ids = self._ids(text, with_instruction, self._max_length(with_instruction))
        if not ids:
            raise ConfigError("the tokenizer puts no start token before a text, so that an empty prompt has no tokens")
        return ids

    def _ids(self, text: str, with_instruction: bool, max_length: int) -> list[int]:
        whole = self.config.instruction_text + text if with_instruction else text
        ids = list(self.tokenizer.encode(whole, truncation=True, max_length=max_length))
        largest, known = max(ids, default=0), self.model.config.vocab_size
        if largest >= known:
            raise ConfigError(
                f"the tokenizer gives token {largest} and the model knows {known}; they do not belong together"
            )
        return ids

    @torch.no_grad()
    @own_arithmetic()
    def _encode_prefix(self, circumstances: _Circumstances) -> EncodedPrefix:
        return EncodedPrefix.of(self.model, self._instruction_ids[:-1])

    @torch.no_grad()
    def _encode_alone(self, text: str, with_instruction: bool, circumstances: _Circumstances) -> TextCondition:
        """One prompt; ``circumstances`` are there to tell cached results apart."""
        return self._encode_rows([self._tokens(text, with_instruction)], with_instruction)[0]

    @torch.no_grad()
    def _encode_grouped(self, texts: Sequence[str], rows_per_call: int) -> list[TextCondition]:
        """Rows with equally many tokens, shared and own, need no padding and so run together."""
        rows = [self._tokens(text, True) for text in texts]
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, ids in enumerate(rows):
            groups[len(ids), self._num_shared(ids, True)].append(index)
        encoded: dict[int, TextCondition] = {}
        for members in groups.values():
            for start in range(0, len(members), rows_per_call):
                chosen = members[start : start + rows_per_call]
                encoded.update(zip(chosen, self._encode_rows([rows[i] for i in chosen], True), strict=True))
        return [encoded[index] for index in range(len(rows))]

    def _num_shared(self, ids: Sequence[int], with_instruction: bool) -> int:
        """Leading tokens that need not be run again; at least one token is always left to run."""
        if not with_instruction or len(self._instruction_ids) < 2:
            return 0
        return min(self._prefix(self._circumstances).num_shared(ids), len(ids) - 1)

    @own_arithmetic()
    def _encode_rows(self, rows: list[list[int]], with_instruction: bool) -> list[TextCondition]:
        """Rows of one length that share equally many tokens with the instruction."""
        self._refuse_float16()
        num_shared, first = self._num_shared(rows[0], with_instruction), self._first_kept(with_instruction)
        if num_shared:
            prefix = self._prefix(self._circumstances)
            states = prefix.continue_with(self.model, [ids[num_shared:] for ids in rows], num_shared)
            start_states = prefix.first_state.expand(len(rows), -1)
        else:
            states = hidden_states(self.model, torch.tensor(rows, device=self.device))[0]
            start_states = states[:, 0]
        window = states[:, max(first, 1) - num_shared :]  # num_shared <= first: nothing kept is missing
        embeds = torch.cat([start_states[:, None], window], dim=1)  # (B, L, C)
        return [_all_real(row[None]) for row in embeds]

    def _refuse_float16(self) -> None:
        if (dtype := self.compute_dtype) not in (torch.bfloat16, torch.float32):
            raise ConfigError(
                f"the text encoder is in {str(dtype).removeprefix('torch.')}; it must run in bfloat16 or float32, "
                f"because its activations overflow float16 and the pictures turn black"
            )


def _all_real(embeds: Tensor) -> TextCondition:
    return TextCondition(embeds, torch.ones(embeds.shape[:2], dtype=torch.bool, device=embeds.device))
