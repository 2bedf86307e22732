"""What runs the tokens of a text encoder: our own decoder, or a model of transformers where it is of another form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from sanakit.models.text.decoder import Decoder, KeysValues

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LanguageModel: TypeAlias = "Decoder | PreTrainedModel"


def hidden_states(
    model: LanguageModel,
    ids: Tensor,
    *,
    mask: Tensor | None = None,
    past: Sequence[KeysValues] = (),
    keep: bool = False,
) -> tuple[Tensor, tuple[KeysValues, ...]]:
    """Last hidden states; arguments and results are those of ``Decoder.forward``."""
    if isinstance(model, Decoder):
        states, kept = model(ids, mask=mask, past=past, keep=keep)
        return states, kept
    return _of_transformers(model, ids, mask, past, keep)


def every_state(model: LanguageModel, ids: Tensor) -> Tensor:
    """Embeddings and what each layer makes of them, the last ones normed, ``(B, L, C, num_layers + 1)``."""
    if isinstance(model, Decoder):
        return model(ids, every=True)[0]
    found = model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
    return torch.stack(list(found), dim=-1)


def attention_of(model: LanguageModel) -> str:
    """Which implementation computes its attention, as transformers calls it."""
    return model.attention if isinstance(model, Decoder) else str(model.config._attn_implementation)


def _of_transformers(
    model: PreTrainedModel, ids: Tensor, mask: Tensor | None, past: Sequence[KeysValues], keep: bool
) -> tuple[Tensor, tuple[KeysValues, ...]]:
    """Its cache is one that keeps every token: one made from the model's config drops what lies outside a sliding
    window, which the attention's mask hides anyway, and what is dropped could not be cropped and reused."""
    if not past and not keep:
        return model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state, ()
    from transformers import DynamicCache

    cache = DynamicCache()
    for index, (keys, values) in enumerate(past):
        cache.update(keys, values, index)
    states: Tensor = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True).last_hidden_state
    layers: Any = cache.layers
    return states, tuple((layer.keys, layer.values) for layer in layers)
