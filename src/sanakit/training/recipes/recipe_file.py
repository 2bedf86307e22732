"""The recipe as a file: kept with its run, and compared when the run continues."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from sanakit.common.config import from_mapping, read_yaml, to_mapping
from sanakit.common.errors import ConfigError, OutputError
from sanakit.common.files import write_whole
from sanakit.common.paths import as_path
from sanakit.training.recipes.recipe import Recipe, renamed
from sanakit.training.run.continuing import INIT
from sanakit.training.run.run_config import Precision
from sanakit.training.saving.checkpoint import newest, read_state

RECIPE_FILE = "recipe.yaml"
# What a run may continue with although it began otherwise: the numbers of its steps stay what they would have been,
# or change as it is plainly meant when a stage is made longer.
_HARMLESS = (
    "intent", "log.", "samples.", "checkpoints.", "parallel", "compile", "accept_data", "report",
    "adaptation.tolerance", "tested_prompts",
)  # fmt: skip
# Fingerprints say whether what lies there is the same.
_PLACES = (["data", "path"], ["data", "also"], ["data", "bank"], ["data", "names"])
_LENGTHS = ("steps", "epochs", "minutes")


def recipe_text(recipe: Recipe) -> str:
    """The recipe in full as YAML."""
    return yaml.safe_dump(to_mapping(recipe), sort_keys=False, allow_unicode=True, width=110)


def begun_precision(folder: Path) -> Precision | None:
    """The precision of the run that is there, if there is one."""
    path = folder / RECIPE_FILE
    if not path.is_file() or newest(folder / "checkpoints") is None:
        return None
    try:
        return "fp32" if read_yaml(path.read_text(encoding="utf-8"))["precision"] == "fp32" else "bf16"
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None  # `record_recipe` says what is wrong with it


def record_recipe(recipe: Recipe, folder: Path) -> None:
    """Keep the recipe with the run, unless the run has begun with another one.

    Raises:
        ConfigError: it has; the message names the settings that differ.
        OutputError: the folder cannot be written.
    """
    path = folder / RECIPE_FILE
    try:
        if path.is_file() and newest(folder / "checkpoints") is not None:
            before = read_yaml(path.read_text(encoding="utf-8"))
            differing = differences(_completed(before, recipe), to_mapping(recipe), known=_known_data(folder))
            if differing:
                raise ConfigError(
                    f"the run in {folder} began with other settings ({'; '.join(differing[:6])}"
                    f"{'; ...' if len(differing) > 6 else ''}); use them again, or another --output"
                )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, recipe_text(recipe), locked=True)
    except OSError as error:
        raise OutputError(f"the run's folder {folder} cannot be written ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML any more, so nothing tells what this run began with") from error


def _completed(before: Any, recipe: Recipe) -> Any:
    """What a run began with, by present names; settings that came after it have their defaults, as it had no others."""
    try:
        return to_mapping(from_mapping(type(recipe), renamed(before, note=False)))
    except (ConfigError, TypeError):
        return before


def _known_data(folder: Path) -> frozenset[str]:
    """Whose data the newest checkpoint tells by what it is, so that the place does not matter."""
    path = newest(folder / "checkpoints")
    try:
        return frozenset(() if path is None else read_state(path)["run"].get("data", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()  # told when it is restored


def differences(before: Any, now: Any, *, known: Collection[str] = ()) -> list[str]:
    """``name: before -> now`` of every setting that differs and matters to a run that continues.

    Args:
        known: whose data is told by what it is.
    """
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in [*old, *(name for name in new if name not in old)]
        if old.get(name, "absent") != new.get(name, "absent")
        and not _is_harmless(name, known)
        and not _is_same_place(old.get(name), new.get(name))
    ]


def _is_same_place(before: Any, now: Any) -> bool:
    """One folder or file in two words: ``photos/`` for ``photos``, a link, a path from the root."""
    with suppress(OSError, ValueError):
        return isinstance(before, str) and isinstance(now, str) and os.path.samefile(as_path(before), as_path(now))
    return False


def _is_harmless(name: str, known: Collection[str]) -> bool:
    if name == INIT:
        return INIT in known
    parts = name.split(".")
    parts = parts[:-1] if parts[-1].isdecimal() else parts  # an item of a list
    if known and (parts[-2:] in _PLACES or name in ("autoencoder", "text_encoder")):
        return True
    lengthened = parts[0] == "stages" and len(parts) == 3 and parts[2] in _LENGTHS
    free = "leave_out" in parts or parts[-2:] == ["data", "cache_folder"]
    return lengthened or free or name.startswith(_HARMLESS)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Plain values by their dotted names."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{name}.{index}")
    else:
        yield name, value
