"""Where words go: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from sanakit.common.files import as_utf8, json_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


# What moves a terminal's cursor, colours it or turns the direction of writing. No word of a file may do that.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_CONTROLS_IN_JSON = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # those that it does not escape itself


def plain(text: object) -> str:
    """One line in which control characters are seen as escapes and have no effect."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def say(*lines: object) -> None:
    """Lines of a result on stdout, made ``plain``, as all that is printed here; nothing else prints."""
    for line in lines:
        print(plain(line), flush=True)


def tell(text: str, *, quiet: bool = False) -> None:
    """A remark for a person, on stderr, of one or more lines."""
    if not quiet:
        print(*map(plain, text.split("\n")), sep="\n", file=sys.stderr, flush=True)


class ForgivingStream:
    """A stream of words that takes no work down with it: closed, full or without a reader, it keeps the system's
    ``error`` and swallows the rest."""

    def __init__(self, stream: TextIO | None) -> None:
        self.error: str | None = None if stream is not None else "it is closed"
        self._stream = Path(os.devnull).open("w", encoding="utf-8") if stream is None else stream  # noqa: SIM115

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            self.error = self.error or error.strerror or str(error)
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())  # for what is left in the buffer, also at the exit


@contextmanager
def forgiving_streams() -> Iterator[ForgivingStream]:
    """Stdout and stderr that never fail, as long as this lasts; gives stdout."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding lacks is printed with escapes
            is_utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")
    out, err = ForgivingStream(sys.stdout), ForgivingStream(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def print_json(content: Any) -> None:
    """One JSON document on stdout."""
    speaks_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json_text(content, indent=2, ensure_ascii=not speaks_unicode, default=str)
    text = as_utf8(text).decode("utf-8")
    print(_CONTROLS_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


class PlainFormatter(logging.Formatter):
    """Lines of a log, as ``tell`` prints them."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(plain, super().format(record).split("\n")))


def log_handler(pattern: str) -> logging.Handler:
    """What writes a log to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter(pattern))
    return handler


def show_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[str] = (), gap: int = 3
) -> None:
    """Plain columns without lines on stdout: no colour codes when it is a file or a pipe, and no cutting of lines.

    Args:
        numbers: the headers of columns that are set to the right.
        gap: characters between two columns.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for name in headers:
        made.add_column(Text(plain(name)), justify="right" if name in numbers else "left")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    Console(soft_wrap=not sys.stdout.isatty(), highlight=False).print(made)


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
