"""Where something was loaded from, as far as it is told to others: what kind of place, and a name without a path."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from sanakit.common.paths import as_path, shared_name

STARTER = "starter"

OriginKind = Literal["starter", "folder", "file", "hub", "memory"]


@dataclass(frozen=True, slots=True)
class Origin:
    """``name`` is a hub id as it was written, or the last name of a place on this machine."""

    kind: OriginKind
    name: str

    @classmethod
    def of(cls, source: str | Path) -> Origin:
        """Of a source as a user writes it; a place on this machine always wins."""
        local = as_path(source)
        if local.exists():
            if local.resolve() == starter_folder().resolve():
                return cls("starter", STARTER)
            return cls("file" if local.is_file() else "folder", shared_name(source))
        return cls("starter", STARTER) if str(source) == STARTER else cls("hub", str(source))


def starter_folder() -> Path:
    """The one that ships, whatever else is called so."""
    return Path(str(resources.files("sanakit") / "starter"))
