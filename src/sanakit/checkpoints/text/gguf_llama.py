"""Reads a Llama-type language model and its byte-level tokenizer out of one GGUF file, without running it.

GGUF holds the weights quantised, under llama.cpp's names, with the rows of the query and key projections reordered
for its own rotary embedding. Here they come back as bfloat16 tensors under transformers' names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from sanakit.common.errors import CheckpointError

if TYPE_CHECKING:
    from gguf import GGUFReader

_OUTER_NAMES = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3  # GGUF's token type of special tokens


class GgufLlama:
    """One opened GGUF file.

    Raises:
        CheckpointError: the file is not GGUF, or holds another architecture or tokenizer.
    """

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        try:
            self._reader: GGUFReader = GGUFReader(path)
        except (ValueError, IndexError, OSError) as error:
            raise CheckpointError(f"{path} is not a readable GGUF file ({error})") from error
        architecture, tokenizer = self._field("general.architecture"), self._field("tokenizer.ggml.model")
        if (architecture, tokenizer) != ("llama", "gpt2"):
            raise CheckpointError(
                f"{path} holds a {architecture} model with a {tokenizer} tokenizer; only llama with gpt2 can be read"
            )

    def _field(self, name: str) -> Any:
        field = self._reader.get_field(name)
        if field is None:
            raise CheckpointError(f"the GGUF file has no {name}, so it is not a complete language model")
        return field.contents()

    def config(self) -> dict[str, Any]:
        """The ``config.json`` of transformers' ``LlamaModel``."""
        heads, width = self._field("llama.attention.head_count"), self._field("llama.embedding_length")
        return {
            "architectures": ["LlamaModel"],
            "model_type": "llama",
            "dtype": "bfloat16",
            "hidden_act": "silu",
            "hidden_size": width,
            "head_dim": width // heads,
            "intermediate_size": self._field("llama.feed_forward_length"),
            "num_hidden_layers": self._field("llama.block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._field("llama.attention.head_count_kv"),
            "max_position_embeddings": self._field("llama.context_length"),
            "rms_norm_eps": round(self._field("llama.attention.layer_norm_rms_epsilon"), 12),
            "rope_theta": self._field("llama.rope.freq_base"),
            "vocab_size": self._field("llama.vocab_size"),
            "bos_token_id": self._field("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self._field("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self._field("tokenizer.ggml.padding_token_id"),
            "tie_word_embeddings": True,
        }

    def tensors(self) -> dict[str, Tensor]:
        """All weights in bfloat16 under the names of transformers' ``LlamaModel``."""
        from gguf import dequantize

        head_counts = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}
        tensors = {}
        for item in self._reader.tensors:
            weight = torch.from_numpy(dequantize(item.data, item.tensor_type).copy())  # numpy order is (out, in)
            kind = item.name.split(".")[-2]
            if kind in head_counts:
                weight = _rotary_halves(weight, self._field(head_counts[kind]))
            tensors[_llama_name(item.name)] = weight.to(torch.bfloat16).contiguous()
        return tensors

    def tokenizer(self) -> Tokenizer:
        """The byte-level BPE tokenizer; it adds no special tokens by itself."""
        tokens: list[str] = self._field("tokenizer.ggml.tokens")
        merges = [tuple(merge.split(" ")) for merge in self._field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # llama.cpp's "smollm": every digit is a token
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        kinds: list[int] = self._field("tokenizer.ggml.token_type")
        special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        return tokenizer


def _llama_name(name: str) -> str:
    """``blk.3.attn_q.weight`` -> ``layers.3.self_attn.q_proj.weight``."""
    if name in _OUTER_NAMES:
        return _OUTER_NAMES[name]
    match name.split("."):
        case ["blk", index, kind, "weight"] if kind in _BLOCK_NAMES:
            return f"layers.{index}.{_BLOCK_NAMES[kind]}.weight"
    raise CheckpointError(f"the GGUF file holds a tensor {name!r}, which a Llama model does not have")


def _rotary_halves(weight: Tensor, num_heads: int) -> Tensor:
    """Rows of interleaved rotary pairs (llama.cpp) back to first half, second half (transformers); (out, in) both."""
    pairs = weight.unflatten(0, (num_heads, -1, 2))  # (heads, D/2, 2, in)
    return pairs.transpose(1, 2).reshape(weight.shape)
