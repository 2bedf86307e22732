"""What is coming, in a file that changes with every step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sanakit.common.errors import RequestError
from sanakit.common.files import write_whole

if TYPE_CHECKING:
    from sanakit.pipelines.events import Event, OnEvent
    from sanakit.pipelines.text_to_image import TextToImagePipeline


def check_preview(file: Path) -> Path:
    """The file of previews, before any work; raises RequestError for one that is no WebP or has no folder."""
    if file.suffix.lower() != ".webp" or file.is_dir():
        raise RequestError(f"--preview {file} is not usable; previews are a file of WebP, so end its name with .webp")
    if not file.absolute().parent.is_dir():
        raise RequestError(f"--preview {file} is not usable; there is no folder {file.absolute().parent}")
    return file


def previewing(file: Path, pipeline: TextToImagePipeline, on_event: OnEvent) -> OnEvent:
    """``on_event`` that has the newest step of any picture or clip in ``file`` before it is told of it."""
    import torch

    from sanakit.pipelines.decoding.previews import fit_projection
    from sanakit.pipelines.events import StepDone

    with torch.no_grad():
        projection = fit_projection(pipeline.encode)
    compression = pipeline.bundle.autoencoder.config.compression

    def told(event: Event) -> None:
        if isinstance(event, StepDone):
            height, width = (side * compression for side in event.latent.shape[-2:])
            write_whole(file, projection.file(event.latent, height, width))
        on_event(event)

    return told
