"""The tokenizer of a text encoder, from transformers' files, with the start token that every text begins with.

A ``tokenizer.json`` is read directly where transformers would take it as it is; else transformers reads the folder.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanakit.checkpoints.files.reader import is_there, read_json
from sanakit.checkpoints.text.text_encoder_check import refuse_marks
from sanakit.checkpoints.text.transformers_folder import check_transformers
from sanakit.common.errors import CheckpointError, first_sentence, own_code
from sanakit.models.text.text_tokenizer import TextTokenizer, token_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

_MIN_VOCABULARY = 1000  # of a real language model; transformers invents a tokenizer of 5 tokens when files are missing
_FAST, _SENTENCEPIECE = "tokenizer.json", "tokenizer.model"
_LEGACY = ("special_tokens_map.json", "added_tokens.json")  # which transformers mixes in where its config is as old
_CHANGING = (
    "auto_map",
    "add_prefix_space",
    "split_special_tokens",
    "fix_mistral_regex",
)  # settings that we do not know
_AS_IT_IS = ("PreTrainedTokenizerFast", "TokenizersBackend")  # classes that take the file as it is
_GEMMA = ("GemmaTokenizer", "GemmaTokenizerFast")  # classes that keep vocabulary and merges and make the rest anew
_GEMMA_PARTS = {  # of that rest; a file with the same is taken as it is
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "pre_tokenizer": {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
    },
}  # fmt: skip


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> TextTokenizer | PreTrainedTokenizerBase:
    """Read a tokenizer; where it puts no start token before a text and has one, it does from here on.

    A tokenizer saved again may have lost that. An empty prompt would then have no tokens, and the first word of every
    other one would be taken for the start.

    Raises:
        CheckpointError: it is not there or damaged, needs a package that is missing, or has no start token.
        SanakitError: transformers is needed for it and does not work here.
    """
    check_tokenizer_files(folder)
    tokenizer = _read_directly(folder) or _read_by_transformers(folder, trust_remote_code)
    if not _starts(tokenizer):
        _add_start(tokenizer, folder)
    return tokenizer


def _read_by_transformers(folder: Path, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    check_transformers(f"the tokenizer in {folder}, which is not stored as it is used,")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers library raises the bare class for a broken file
        reason = own_code(error) or first_sentence(error)
        raise CheckpointError(f"the tokenizer in {folder} could not be read: {reason}") from error


def _read_directly(folder: Path) -> TextTokenizer | None:
    """None where transformers would not take the file as it is, or where it is damaged, which transformers tells."""
    if not (is_there(folder / _FAST) and is_there(folder / "tokenizer_config.json")):
        return None
    try:
        settings = read_json(folder / "tokenizer_config.json")
    except CheckpointError:
        return None
    name = settings.get("tokenizer_class")
    is_old = "added_tokens_decoder" not in settings and any(is_there(folder / other) for other in _LEGACY)
    if name not in (*_AS_IT_IS, *_GEMMA) or is_old or any(settings.get(change) for change in _CHANGING):
        return None
    from tokenizers import Tokenizer

    try:
        backend = Tokenizer.from_file(str(folder / _FAST))
    except Exception:  # the bare class, for a broken file
        return None
    if (name in _GEMMA and not _is_gemma(backend)) or settings.get("truncation_side", "right") not in ("left", "right"):
        return None
    try:
        if not _add_special(backend, settings):
            return None
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / 'tokenizer_config.json'} holds a value of another kind than it should: {first_sentence(error)}"
        ) from error
    return TextTokenizer(backend, settings)


def _is_gemma(backend: Tokenizer) -> bool:
    """Whether what transformers makes anew for Gemma is what the file says."""
    model: Any = backend.model
    parts = {name: getattr(backend, name) for name in _GEMMA_PARTS}
    return (
        type(model).__name__ == "BPE"
        and (model.fuse_unk, model.byte_fallback, model.unk_token, model.dropout) == (True, True, "<unk>", None)
        and not (model.ignore_merges or model.continuing_subword_prefix or model.end_of_word_suffix)
        and all(part is not None and json.loads(part.__getstate__()) == _GEMMA_PARTS[n] for n, part in parts.items())
    )


def _add_special(backend: Tokenizer, settings: Mapping[str, Any]) -> bool:
    """Make tokens special that the settings name, as transformers does; False where they are not in the file, or are
    there in another way."""
    from tokenizers import AddedToken

    there = {token.content: repr(token) for token in backend.get_added_tokens_decoder().values()}
    for stored in (settings.get("added_tokens_decoder") or {}).values():
        if not isinstance(stored, dict) or repr(AddedToken(**stored)) != there.get(str(stored.get("content"))):
            return False
    named = list(_special_tokens(settings))
    if any(backend.token_to_id(token) is None for token in named):
        return False
    backend.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in named])
    return True


def _special_tokens(settings: Mapping[str, Any]) -> Iterator[str]:
    more = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
    listed = list(more.values()) if isinstance(more, dict) else list(more)
    for value in [*(value for name, value in settings.items() if name.endswith("_token")), *listed]:
        if (token := token_text(value)) is not None:
            yield token


def check_vocabulary(tokenizer: TextTokenizer | PreTrainedTokenizerBase, vocabulary: int, folder: Path) -> None:
    """Whether tokenizer and language model belong together.

    Raises:
        CheckpointError: they do not.
    """
    num_tokens = len(tokenizer)
    if num_tokens < _MIN_VOCABULARY or not 0.9 * vocabulary <= num_tokens <= vocabulary:
        raise CheckpointError(
            f"the tokenizer in {folder} has {num_tokens} tokens and the text encoder knows {vocabulary}; "
            f"they do not belong together or the tokenizer's files are incomplete"
        )


def check_tokenizer_files(folder: Path) -> None:
    """Whether there is a tokenizer that can be read here; errors as of ``load_tokenizer``."""
    refuse_marks(folder)
    if is_there(folder / _FAST):
        return
    if not is_there(folder / _SENTENCEPIECE):
        raise CheckpointError(f"{folder} holds no tokenizer: there is no {_FAST} or {_SENTENCEPIECE} in it")
    if importlib.util.find_spec("sentencepiece") is None:
        raise CheckpointError(
            f"the tokenizer in {folder} is a {_SENTENCEPIECE} alone; put the {_FAST} of the same model beside it, or "
            f"run: pip install sentencepiece protobuf"
        )


def _starts(tokenizer: Any) -> bool:
    """Whether every text begins with one token that is all that an empty one has."""
    empty, some = tokenizer.encode(""), tokenizer.encode("a")
    return len(empty) == 1 and some[:1] == empty and some[-1:] != empty


def _add_start(tokenizer: Any, folder: Path) -> None:
    from tokenizers import processors

    start, backend = tokenizer.bos_token, getattr(tokenizer, "backend_tokenizer", None)
    if tokenizer.encode("") or start is None or backend is None:
        raise CheckpointError(
            f"the tokenizer in {folder} does not begin every text with one start token and end it with none, as the "
            f"tokenizers of SANA do{'' if start else ', and names no bos_token'}; name another text encoder"
        )
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", pair=f"{start} $A $B", special_tokens=[(start, tokenizer.bos_token_id)]
    )
