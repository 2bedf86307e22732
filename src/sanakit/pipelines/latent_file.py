"""A finished latent on disk: safetensors with the recipe of its picture, so that decoding can be done later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sanakit.common.errors import PictureError
from sanakit.common.files import written_aside
from sanakit.pipelines.record import Recipe

_RECIPE = "sanakit_recipe"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedLatent:
    """A latent ``(1, C, h, w)`` float32, scaled as everywhere outside the autoencoder, and its picture's recipe."""

    latent: Tensor
    recipe: Recipe


def save_latent(path: str | Path, saved: SavedLatent) -> Path:
    """Write ``saved``, whole or not at all.

    Raises:
        OutputError: the disk is full or the place cannot be written.
    """
    latent = saved.latent.detach().float().cpu().contiguous()
    with written_aside(Path(path)) as building:
        save_file({"latent": latent}, building, metadata={_RECIPE: saved.recipe.to_json()})
    return Path(path)


def latent_name(recipe: Recipe) -> str:
    """The name of the file in which a latent is kept: it follows from the recipe."""
    digest = hashlib.sha256(recipe.to_json().encode()).hexdigest()
    return f"seed{recipe.request.seed}-{digest[:8]}.safetensors"


@contextmanager
def rescued(finished: SavedLatent, folder: Path) -> Iterator[Callable[[], Path]]:
    """A function that keeps ``finished`` in ``folder``; what it wrote is removed when the block ends well.

    The name follows from the recipe, so a latent kept by an earlier run is neither written over nor removed.
    """
    path = folder / latent_name(finished.recipe)
    written: list[Path] = []

    def save() -> Path:
        if not path.exists():
            written.append(save_latent(path, finished))
        return path

    yield save
    for path_written in written:
        path_written.unlink(missing_ok=True)


def load_latent(path: str | Path) -> SavedLatent:
    """Read what ``save_latent`` wrote.

    Raises:
        PictureError: no such file, or not a latent of ours.
    """
    if not Path(path).is_file():
        raise PictureError(f"{path} does not exist or is no file; give a latent that sanakit saved")
    try:
        with safe_open(path, framework="pt") as file:
            recipe = (file.metadata() or {}).get(_RECIPE)
            latent = file.get_tensor("latent") if "latent" in file.keys() else None  # noqa: SIM118, not a dict
    except (SafetensorError, OSError) as error:
        raise PictureError(f"{path} could not be read as a latent ({error}); it must be a safetensors file") from None
    if recipe is None or latent is None or latent.ndim != 4:
        raise PictureError(f"{path} is not a latent that sanakit saved; it holds no latent with a recipe")
    return SavedLatent(latent=latent, recipe=Recipe.from_json(recipe))
