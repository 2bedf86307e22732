"""``sanakit train``"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sanakit.cli.console import tell
from sanakit.cli.failures import Interrupted
from sanakit.cli.options import DeviceOption, resolve_device
from sanakit.common.errors import ConfigError, RequestError


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE.yaml", help="What to train and how, such as recipes/*.yaml.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run; runs/ and the recipe's name if not given.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Change a setting of the recipe; may be repeated."),
    ] = None,
    device: DeviceOption = "cpu",
    quiet: Annotated[bool, typer.Option(help="Print no lines of progress.")] = False,
) -> None:
    """Train a model from a recipe; the same command continues a run that was stopped.

    Several processes share the work under torchrun, such as:
    torchrun --nproc-per-node 2 -m sanakit train RECIPE.yaml
    """
    settings = read_recipe(recipe)
    for override in overrides or []:
        apply_override(settings, override)
    folder = output or Path("runs") / recipe.stem
    try:
        run(settings, folder, device=resolve_device(device), quiet=quiet, name=str(recipe))
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; the same command continues from the last saved state in {folder}") from None
    tell(f"done; the run is in {folder}", quiet=quiet)


def run(settings: Mapping[str, Any], folder: Path, *, device: str, quiet: bool, name: str) -> None:
    """Build the recipe of the type that the settings name, write it into the folder of the run, and train."""
    import logging

    from sanakit.common.config import from_mapping

    if not quiet:
        logging.getLogger("sanakit").setLevel(logging.INFO)
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    match settings.get("type"):
        case "autoencoder":
            from sanakit.training.autoencoder import AutoencoderRecipe, train_autoencoder

            autoencoder_recipe = from_mapping(AutoencoderRecipe, settings, where="recipe")
            _record(autoencoder_recipe, folder)
            train_autoencoder(autoencoder_recipe, folder, device=device)
        case "transformer":
            from sanakit.training.transformer import TransformerRecipe, train_transformer

            transformer_recipe = from_mapping(TransformerRecipe, settings, where="recipe")
            _record(transformer_recipe, folder)
            train_transformer(transformer_recipe, folder, device=device)
        case other:
            raise ConfigError(f"{name} says type: {other}; a recipe's type is autoencoder or transformer")


def read_recipe(path: Path) -> dict[str, Any]:
    """A YAML file as plain values.

    Raises:
        RequestError: the file cannot be read, or is no mapping in YAML.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"the recipe {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"the recipe {path} is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise RequestError(
            f"the recipe {path} is not YAML{place} ({getattr(error, 'problem', 'unreadable')})"
        ) from error
    if not isinstance(content, dict):
        raise RequestError(f"the recipe {path} holds {type(content).__name__} where settings were expected")
    return content


def apply_override(settings: dict[str, Any], override: str) -> None:
    """Put ``a.b.0.c=value`` into nested settings, in place; the value is read as YAML, so ``1e-3`` and ``true`` work.

    Raises:
        RequestError: it is not of that form, or names a place that the recipe does not have.
    """
    import yaml

    name, equals, text = override.partition("=")
    *parents, last = name.strip().split(".")
    if not equals or not last:
        raise RequestError(f"--set {override} has no form of name=value, such as phases.0.loop.minutes=5")
    place: Any = settings
    for depth, key in enumerate(parents):
        place = _enter(place, key, ".".join(parents[: depth + 1]), override)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RequestError(f"--set {override} has a value that is not YAML") from error
    if isinstance(place, list):
        place[_index(place, last, override)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise RequestError(f"--set {override} goes into {'.'.join(parents)}, which is a plain value")


def _enter(place: Any, key: str, path: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, key, override)]
    if isinstance(place, dict) and key in place:
        return place[key]
    known = f"; it has {', '.join(map(str, place))}" if isinstance(place, dict) else ""
    raise RequestError(f"--set {override} names {path}, which the recipe does not have{known}")


def _index(place: list[Any], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) >= len(place):
        raise RequestError(f"--set {override} needs a number from 0 to {len(place) - 1} where it says {key!r}")
    return int(key)


def _record(recipe: Any, folder: Path) -> None:
    """Keep the recipe, fully resolved, with the run."""
    import yaml

    from sanakit.common.config import to_mapping
    from sanakit.common.errors import OutputError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(to_mapping(recipe), sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise OutputError(f"the run's folder {folder} cannot be written ({error.strerror})") from error
