"""The tokenizer of a text encoder, from transformers' files, with the start token that every text begins with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanakit.checkpoints.files.reader import is_there
from sanakit.checkpoints.networks.text_encoder_check import refuse_marks
from sanakit.common.errors import CheckpointError, first_sentence, own_code

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MIN_VOCABULARY = 1000  # of a real language model; transformers invents a tokenizer of 5 tokens when files are missing
_FAST, _SENTENCEPIECE = "tokenizer.json", "tokenizer.model"


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Read a tokenizer; where it puts no start token before a text and has one, it does from here on.

    A tokenizer saved again may have lost that. An empty prompt would then have no tokens, and the first word of every
    other one would be taken for the start.

    Raises:
        CheckpointError: it is not there or damaged, needs a package that is missing, or has no start token.
    """
    from transformers import AutoTokenizer

    check_tokenizer_files(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers library raises the bare class for a broken file
        reason = own_code(error) or first_sentence(error)
        raise CheckpointError(f"the tokenizer in {folder} could not be read: {reason}") from error
    if not _starts(tokenizer):
        _add_start(tokenizer, folder)
    return tokenizer


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, vocabulary: int, folder: Path) -> None:
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
    empty, some = tokenizer("").input_ids, tokenizer("a").input_ids
    return len(empty) == 1 and some[:1] == empty and some[-1:] != empty


def _add_start(tokenizer: Any, folder: Path) -> None:
    from tokenizers import processors

    start, backend = tokenizer.bos_token, getattr(tokenizer, "backend_tokenizer", None)
    if tokenizer("").input_ids or start is None or backend is None:
        raise CheckpointError(
            f"the tokenizer in {folder} does not begin every text with one start token and end it with none, as the "
            f"tokenizers of SANA do{'' if start else ', and names no bos_token'}; name another text encoder"
        )
    backend.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", pair=f"{start} $A $B", special_tokens=[(start, tokenizer.bos_token_id)]
    )
