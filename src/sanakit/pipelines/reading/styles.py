"""Styles by name: templates that a prompt and a negative prompt are put into, before anything else reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from sanakit.common.config import QUOTES, read_yaml
from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.data.sources.files import read_text

_PLACE = "{prompt}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """``prompt`` has ``{prompt}`` where the words that were written go; ``negative`` comes before a negative prompt."""

    prompt: str
    negative: str = ""

    def applied(self, prompt: str, negative: str = "") -> tuple[str, str]:
        """Both prompts of a request."""
        return self.prompt.replace(_PLACE, prompt), ", ".join(filter(None, (self.negative, negative)))


def load_styles(path: str | Path | None = None) -> dict[str, Style]:
    """Those that ship, and of a file its own beside or instead of them.

    Raises:
        RequestError: the file cannot be read, or holds something else.
    """
    shipped = _styles_in("the styles that ship", files(__package__).joinpath("styles.yaml").read_text("utf-8"))
    if path is None:
        return shipped
    try:
        text = read_text(as_path(path))
    except ValueError as error:
        raise RequestError(f"{path} is no file of styles: {error}.") from None
    return shipped | _styles_in(str(path), text)


def style_named(name: str, path: str | Path | None = None) -> Style:
    """Raises RequestError where there is none of that name; the message has those there are."""
    styles = load_styles(path)
    if name in styles:
        return styles[name]
    meant = next(iter(get_close_matches(name, styles, n=1)), None)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(styles)}."
    raise RequestError(f"there is no style {name!r}; {hint}")


def _styles_in(place: str, text: str) -> dict[str, Style]:
    try:
        content: Any = read_yaml(text)
    except yaml.YAMLError as error:
        raise RequestError(f"{place} is no YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, Mapping):
        raise RequestError(f"{place} holds no styles; each is NAME: {{prompt: '{_PLACE}, ...', negative: '...'}}.")
    return {str(name): _style(place, str(name), fields) for name, fields in content.items()}


def _style(place: str, name: str, fields: object) -> Style:
    texts = {"prompt": fields} if isinstance(fields, str) else fields
    if isinstance(texts, Mapping) and set(texts) <= {"prompt", "negative"} and _PLACE in str(texts.get("prompt")):
        if all(isinstance(text, str) for text in texts.values()):
            return Style(**texts)
        raise RequestError(f"the style {name!r} in {place} holds what is no text{QUOTES}.")
    raise RequestError(
        f"the style {name!r} in {place} is not usable; it must be {{prompt: '{_PLACE}, ...', negative: '...'}}, with "
        f"{_PLACE} in it."
    )
