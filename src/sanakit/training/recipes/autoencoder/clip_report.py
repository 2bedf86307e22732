"""The page of a run of an autoencoder of clips: curves, film strips above their copies, and what is kept of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sanakit.common.pixels import from_signed
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.features.batches import PixelBatch, TrainingData
from sanakit.models.autoencoders.dc_ae_clips import DCClipAutoencoder
from sanakit.training.objectives.reconstruction import as_frames
from sanakit.training.recipes.autoencoder.report import logs_of_stages
from sanakit.training.watching.report import draw_curves, spent, write_report

NUM_CLIPS, _NUM_SHOWN = 32, 8
_FAR = 1_000_000  # micro-batches that no run of this size reaches


def report_clips(
    model: DCClipAutoencoder,
    recipe: Mapping[str, Any],
    folder: Path,
    *,
    data: Callable[[], TrainingData[PixelBatch]],
    device: str,
) -> Path:
    """Write ``report.md`` with ``curves.png`` and ``reconstructions.png``.

    Args:
        data: of the last stage; clips are shown that training has not reached.
    """
    logs = logs_of_stages(folder / "log.jsonl", [stage["name"] for stage in recipe["stages"]])
    images = draw_curves(logs, ("loss", "mse"), folder)
    clips = _unseen(data())
    copies = torch.cat([rebuilt(model, clip[None].to(device)) for clip in clips])
    alone = torch.cat([_frame_by_frame(model, clip[None].to(device)) for clip in clips])
    strips = [_strip(each[number]) for number in range(min(_NUM_SHOWN, len(clips))) for each in (clips, copies)]
    picture_grid(strips, [""] * len(strips), columns=1, label_height=0).save(folder / "reconstructions.png")
    errors, least = _psnr(clips, copies), _psnr(clips, alone)
    results = {
        f"clips of {clips.shape[2]} frames, painted anew": len(clips),
        "PSNR": f"{errors.mean():.2f} dB; frame by frame by the autoencoder of pictures {least.mean():.2f} dB",
        "PSNR of the first frame": f"{errors[:, 0].mean():.2f} dB",
        "PSNR of the worst frame of a clip, median": f"{errors.amin(dim=1).median():.2f} dB",
        **{f"stage {name}": spent(lines) for name, lines in logs.items()},
    }
    title = f"Training of the autoencoder {folder.name}"
    return write_report(folder, title=title, recipe=recipe, results=results, images=(*images, "reconstructions.png"))


@torch.no_grad()
def rebuilt(model: DCClipAutoencoder, clips: Tensor) -> Tensor:
    """``(B, 3, T, H, W)`` in [-1, 1] to latents and back, on the CPU."""
    return model.decode(model.encode(clips)).clamp(-1, 1).cpu()


@torch.no_grad()
def _frame_by_frame(model: DCClipAutoencoder, clips: Tensor) -> Tensor:
    frames = model.picture.decode(model.picture.encode(as_frames(clips))).clamp(-1, 1)
    return frames.unflatten(0, (len(clips), -1)).transpose(1, 2).cpu()


def _unseen(data: TrainingData[PixelBatch]) -> Tensor:
    num_batches = -(-NUM_CLIPS // data.num_samples(_FAR))
    return torch.cat([data.batch(_FAR + number).pixels for number in range(num_batches)])[:NUM_CLIPS]


def _psnr(clips: Tensor, copies: Tensor) -> Tensor:
    """Of every frame, ``(B, T)`` in dB; of equal ones 100."""
    square = ((clips - copies) / 2).square().mean(dim=(1, 3, 4))
    return (-10 * square.log10()).clamp(max=100)


def _strip(clip: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.concatenate(from_signed(clip.transpose(0, 1)), axis=1)
