"""What "yes" and "no" are worth, as of the judge of SANA-1.5 (arXiv:2501.18427)."""

from __future__ import annotations

from typing import Any

from sanakit.common.errors import CheckpointError
from sanakit.scoring.judges.judge import Score


def first_token(tokenizer: Any, word: str, name: str) -> int:
    """Of a word by itself; raises CheckpointError where it has none."""
    tokens = tokenizer.encode(word, add_special_tokens=False)
    if not tokens:
        raise CheckpointError(f"the tokenizer of {name} has no token for {word!r}; it cannot judge")
    return int(tokens[0])


def score_of(answer: str, yes: float, no: float) -> Score:
    """Of what was answered, and the logits of both words as the first token."""
    return (1.0, yes) if answer.strip().lower().startswith("yes") else (0.0, -no)
