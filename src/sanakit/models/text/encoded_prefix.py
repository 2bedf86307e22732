"""The tokens that all prompts begin with, run through a causal language model once.

A causal model never looks ahead, so the keys and values of the first tokens do not depend on what follows. Keeping
them saves most of the work: SANA's instruction is some 210 tokens and a prompt some 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel
    from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True, slots=True)
class EncodedPrefix:
    """Attributes:
    ids: the tokens, at least one.
    first_state: last hidden state of the very first token, ``(1, C)``.
    keys_values: per layer, keys and values ``(1, heads, len(ids), D)``.
    """

    ids: tuple[int, ...]
    first_state: Tensor
    keys_values: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def of(cls, model: PreTrainedModel, ids: Sequence[int]) -> EncodedPrefix:
        """Run ``ids`` through ``model``."""
        cache = _empty_cache()
        tokens = torch.tensor([list(ids)], device=model.device)  # (1, L)
        states = model(input_ids=tokens, past_key_values=cache, use_cache=True).last_hidden_state
        return cls(tuple(ids), states[:, 0], _keys_values(cache))

    def num_shared(self, ids: Sequence[int]) -> int:
        """How many leading tokens ``ids`` really has in common with the prefix.

        The last token of an instruction may merge with the first character of a prompt, and a tokenizer may cut
        the joint text elsewhere altogether; so the ids are compared, never assumed.
        """
        return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(self.ids, ids, strict=False))))

    def continue_with(self, model: PreTrainedModel, rows: Sequence[Sequence[int]], num_shared: int) -> Tensor:
        """Last hidden states of ``rows``, token lists of one length that follow the first ``num_shared`` tokens.

        Returns:
            ``(B, L, C)`` for the tokens of ``rows`` alone.
        """
        cache = _empty_cache()
        for index, (keys, values) in enumerate(self.keys_values):
            keys, values = keys[:, :, :num_shared], values[:, :, :num_shared]
            cache.update(keys.expand(len(rows), -1, -1, -1), values.expand(len(rows), -1, -1, -1), index)
        tokens = torch.tensor([list(row) for row in rows], device=model.device)
        states: Tensor = model(input_ids=tokens, past_key_values=cache, use_cache=True).last_hidden_state
        return states


def _keys_values(cache: DynamicCache) -> tuple[tuple[Tensor, Tensor], ...]:
    layers = cast("list[DynamicLayer]", cache.layers)
    return tuple((cast(Tensor, layer.keys), cast(Tensor, layer.values)) for layer in layers)


def _empty_cache() -> DynamicCache:
    """A cache that keeps every token. One made from a model's config drops what lies outside a sliding window (4096
    tokens in Gemma-2); the attention mask hides those anyway, and what is dropped could not be cropped and reused."""
    from transformers import DynamicCache

    return DynamicCache()
