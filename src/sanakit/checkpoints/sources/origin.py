"""Where something was loaded from, as far as it is told to others: what kind of place, and a name without a path."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from sanakit.common.paths import as_path, shared_name

STARTER = "starter"
SHIPPED = {STARTER: "starter", "starter-sprint": "starter/sprint", "starter-video": "starter/video"}
"""Models that come with the package, by their names, and their folders in it."""

OriginKind = Literal["starter", "folder", "file", "hub", "memory"]


@dataclass(frozen=True, slots=True)
class Origin:
    """``kind`` "starter" is what ships; ``name`` is its own, a hub id, or the last name of a place here."""

    kind: OriginKind
    name: str

    @classmethod
    def of(cls, source: str | Path) -> Origin:
        """Of a source as a user writes it; a place on this machine always wins."""
        local = as_path(source)
        if local.exists():
            if name := next((name for name in SHIPPED if local.resolve() == shipped_folder(name).resolve()), None):
                return cls("starter", name)
            return cls("file" if local.is_file() else "folder", shared_name(source))
        return cls("starter" if str(source) in SHIPPED else "hub", str(source))


def makes_clips(source: str | Path) -> bool:
    """Whether a folder here, or a model that ships, says so; False also where nothing is told before it is opened."""
    folder = as_path(source)
    if not folder.exists() and str(source) in SHIPPED:
        folder = shipped_folder(str(source))
    with suppress(OSError, ValueError, AttributeError, TypeError):  # of a file that is told where it is opened
        return "Video" in json.loads((folder / "model_index.json").read_bytes()).get("_class_name", "")
    return False


def starter_folder() -> Path:
    """The one that ships, whatever else is called so."""
    return shipped_folder(STARTER)


def shipped_folder(name: str) -> Path:
    """Of a model that comes with the package."""
    return Path(str(resources.files("sanakit"))) / SHIPPED[name]
