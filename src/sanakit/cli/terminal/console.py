"""Where words go: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Table


def print_json(content: Any) -> None:
    """One JSON document on stdout."""
    speaks_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(content, indent=2, ensure_ascii=not speaks_unicode, default=str))


def tell(text: str, *, quiet: bool = False) -> None:
    """A remark for a person, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def table_console() -> Console:
    """Rich's console for tables on stdout: no colour codes when it is a file or a pipe, and no cutting of lines."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Plain columns without lines."""
    from rich.table import Table

    made = Table(*headers, box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for row in rows:
        made.add_row(*row)
    return made


def plural(number: int, word: str) -> str:
    """``1 picture`` or ``2 pictures``."""
    return f"{number} {word}{'s' * (number != 1)}"


def readable_seconds(seconds: float) -> str:
    """``4.2 s``, ``3 min 5 s``, ``2 h 40 min`` or ``4 days``."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"
