"""Texts to token ids by a ``tokenizer.json``, without transformers; what is asked of it is named as there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanakit.common.files import write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TextTokenizer:
    """A tokenizer of the tokenizers library with what a ``tokenizer_config.json`` says beside it.

    Args:
        backend: as read from its file; it neither cuts nor pads here.
        settings: of ``tokenizer_config.json``.
    """

    def __init__(self, backend: Tokenizer, settings: Mapping[str, Any]) -> None:
        self.backend_tokenizer, self.settings = backend, dict(settings)
        stored = backend.truncation or {}
        self.truncation_side = str(self.settings.get("truncation_side") or stored.get("direction", "right"))
        backend.no_truncation()
        backend.no_padding()

    def __len__(self) -> int:
        """Tokens, the added ones included."""
        return self.backend_tokenizer.get_vocab_size()

    def get_vocab(self) -> dict[str, int]:
        return self.backend_tokenizer.get_vocab()

    @property
    def bos_token(self) -> str | None:
        return token_text(self.settings.get("bos_token"))

    @property
    def bos_token_id(self) -> int | None:
        return self._id("bos_token")

    @property
    def pad_token_id(self) -> int | None:
        return self._id("pad_token")

    def encode(self, text: str, *, truncation: bool = False, max_length: int | None = None) -> list[int]:
        """Token ids with the special ones; with ``truncation`` so many of the text's own go that ``max_length`` are
        left, at the end or, where the settings say so, at the start."""
        backend = self.backend_tokenizer
        encoding = backend.encode(text, add_special_tokens=False)
        if truncation and max_length is not None:
            num_special = backend.num_special_tokens_to_add(False)
            encoding.truncate(max(max_length - num_special, 0), direction=self.truncation_side)
        return list(backend.post_process(encoding).ids)

    def save_pretrained(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
        folder.mkdir(exist_ok=True)
        self.backend_tokenizer.save(str(folder / "tokenizer.json"))
        write_json(folder / "tokenizer_config.json", self.settings)

    def _id(self, name: str) -> int | None:
        token = token_text(self.settings.get(name))
        return None if token is None else self.backend_tokenizer.token_to_id(token)


def token_text(setting: Any) -> str | None:
    """Of a token that is a text, or a table with its ``content``."""
    text = setting.get("content") if isinstance(setting, dict) else setting
    return text if isinstance(text, str) else None
