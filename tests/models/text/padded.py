"""Prompts in the layout of upstream and diffusers, which ours is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sanakit.models.text.language_model import hidden_states
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import TextEncoder


@torch.no_grad()
def encode_padded(encoder: TextEncoder, prompts: Sequence[str], *, with_instruction: bool = True) -> TextCondition:
    """``(B, max_tokens, C)``, padded on the right, mask False on padding."""
    length, pad = encoder._max_length(with_instruction), encoder.tokenizer.pad_token_id
    assert pad is not None
    rows = [encoder._tokens(encoder._clean(prompt), with_instruction) for prompt in prompts]
    ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    states = hidden_states(encoder.model, ids, mask=mask)[0]
    kept = [0, *range(1 - encoder.config.max_tokens, 0)]
    return TextCondition(states[:, kept], mask[:, kept].bool())
