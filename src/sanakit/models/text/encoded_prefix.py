"""The tokens that all prompts begin with, run through a causal language model once.

A causal model never looks ahead, so the keys and values of the first tokens do not depend on what follows. Keeping
them saves most of the work: SANA's instruction is some 210 tokens and a prompt some 20.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from sanakit.models.text.decoder import KeysValues
from sanakit.models.text.language_model import LanguageModel, hidden_states


@dataclass(frozen=True, slots=True)
class EncodedPrefix:
    """Attributes:
    ids: the tokens, at least one.
    first_state: last hidden state of the very first token, ``(1, C)``.
    keys_values: of every layer.
    """

    ids: tuple[int, ...]
    first_state: Tensor
    keys_values: tuple[KeysValues, ...]

    @classmethod
    def of(cls, model: LanguageModel, ids: Sequence[int]) -> EncodedPrefix:
        """Run ``ids`` through ``model``."""
        device = next(model.parameters()).device
        states, kept = hidden_states(model, torch.tensor([list(ids)], device=device), keep=True)
        return cls(tuple(ids), states[:, 0], kept)

    def num_shared(self, ids: Sequence[int]) -> int:
        """How many leading tokens ``ids`` really has in common with the prefix.

        The last token of an instruction may merge with the first character of a prompt, and a tokenizer may cut
        the joint text elsewhere altogether; so the ids are compared, never assumed.
        """
        return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(self.ids, ids, strict=False))))

    def continue_with(self, model: LanguageModel, rows: Sequence[Sequence[int]], num_shared: int) -> Tensor:
        """Last hidden states of ``rows``, token lists of one length that follow the first ``num_shared`` tokens.

        Returns:
            ``(B, L, C)`` for the tokens of ``rows`` alone.
        """
        past = tuple(
            (
                keys[:, :, :num_shared].expand(len(rows), -1, -1, -1),
                values[:, :, :num_shared].expand(len(rows), -1, -1, -1),
            )
            for keys, values in self.keys_values
        )
        tokens = torch.tensor([list(row) for row in rows], device=next(model.parameters()).device)
        return hidden_states(model, tokens, past=past)[0]
