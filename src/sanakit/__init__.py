"""The SANA family of linear diffusion transformers: library, command line and server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from sanakit.pipelines.text_to_image import TextToImagePipeline

__version__ = "0.1.0"


def load(source: str | Path = "starter", *, deterministic: bool = False, **options: Any) -> TextToImagePipeline:
    """A pipeline for a model folder, a weights file, a hub id, or the starter that ships with the package.

    Args:
        source: what to load.
        deterministic: pictures are the same to the bit in any company, also on a GPU; slower.
        options: of ``sanakit.checkpoints.bundle.load_bundle``, such as ``device`` and ``dtype``.
    """
    from sanakit.checkpoints.bundle import load_bundle  # torch and friends load only now
    from sanakit.pipelines.text_to_image import TextToImagePipeline

    return TextToImagePipeline(load_bundle(source, **options), deterministic=deterministic)
