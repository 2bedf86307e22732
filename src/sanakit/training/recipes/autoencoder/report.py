"""The page of an autoencoder's run: curves, pictures beside their reconstructions, and what they keep."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.errors import MissingExtraError
from sanakit.common.pixels import Picture, from_signed
from sanakit.evaluation.metrics.bootstrap import Estimate, estimate
from sanakit.evaluation.metrics.image_metrics import psnr, ssim
from sanakit.evaluation.reports.scene_reconstruction import MOST_PSNR, rebuilt, reconstruction_report
from sanakit.features.configs import PixelDataConfig, ScenePictures
from sanakit.features.open import pixel_data
from sanakit.features.starter_scenes import scene_pixels
from sanakit.features.work import Demand
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.training.watching.report import draw_curves, picture_grid, read_log, spent, write_report
from sanakit.worlds.scenes.scenes import StarterScenes
from sanakit.worlds.scenes.sprites import load_sprite_bank

logger = logging.getLogger(__name__)

NUM_REPORT_SCENES = 96
NUM_SHOWN = 18


def report_autoencoder(
    model: DCAutoencoder,
    recipe: Mapping[str, Any],
    folder: Path,
    *,
    data: PixelDataConfig,
    resolution: int,
    device: str = "cpu",
) -> Path:
    """Write ``report.md`` with ``curves.png`` and ``reconstructions.png``: rows of pictures, each above its copy.

    Args:
        recipe: as plain values, for the page.
        data, resolution: of the last stage, whose pictures are shown.
    """
    logs = logs_of_stages(folder / "log.jsonl", [stage["name"] for stage in recipe["stages"]])
    images = []
    try:
        draw_curves(logs, ("loss", "mse"), folder / "curves.png")
        images.append("curves.png")
    except MissingExtraError as error:
        logger.warning("the report has no curves: %s", error)
    seed = recipe["seed"]
    if isinstance(data, ScenePictures):
        scenes = StarterScenes(load_sprite_bank(), "heldout", seed, size=resolution)
        shown = from_signed(scene_pixels(scenes, range(NUM_SHOWN)))
        results = _scores_of_scenes(model, seed, resolution, device)
    else:
        shown = _training_pictures(data, resolution, seed, model.config.compression)
        results = _scores_of_pictures(model, shown, seed, device)
    _paired_grid(model, shown, device).save(folder / "reconstructions.png")
    results |= {"scaling factor": f"{model.config.scaling_factor:.4f}"}
    results |= {f"stage {name}": spent(lines) for name, lines in logs.items()}
    title = f"Training of the autoencoder {folder.name}"
    return write_report(folder, title=title, recipe=recipe, results=results, images=(*images, "reconstructions.png"))


def logs_of_stages(path: Path, names: Sequence[str]) -> dict[str, list[Mapping[str, float]]]:
    """The lines of a log by stage; steps, samples and seconds counted from the beginning of each."""
    logs: dict[str, list[Mapping[str, float]]] = {name: [] for name in names}
    start = dict.fromkeys(("step", "samples", "seconds"), 0.0)
    stage, last = 0.0, start
    for line in read_log(path):
        if line["stage"] != stage:
            stage, start = line["stage"], last
        last = {key: line[key] for key in start}
        logs[names[int(stage)]].append({**line, **{key: line[key] - start[key] for key in start}})
    return logs


def _training_pictures(config: PixelDataConfig, resolution: int, seed: int, compression: int) -> list[Picture]:
    """Pictures of the data as the last stage sees them, of the size that most of the first ones have."""
    demand = Demand(resolutions=(resolution,), batch_size=NUM_SHOWN, seed=seed)
    data = pixel_data(config, demand, multiple=compression)
    batches = [data.batch(number).pixels for number in range(min(data.num_batches or 4, 4))]
    return from_signed(max(batches, key=len))


def _paired_grid(model: DCAutoencoder, pictures: Sequence[Picture], device: str) -> Image.Image:
    """Rows of up to six, each followed by the row of their reconstructions; only whole rows."""
    columns, cells = min(6, len(pictures)), list[Picture]()
    for start in range(0, len(pictures) - columns + 1, columns):
        row = list(pictures[start : start + columns])
        cells += [*row, *rebuilt(model, row, device)]
    return picture_grid(cells, [""] * len(cells), columns=columns, label_height=0)


def _scores_of_scenes(model: DCAutoencoder, seed: int, size: int, device: str) -> dict[str, object]:
    scores = reconstruction_report(model, NUM_REPORT_SCENES, seed, size=size, device=device)
    return {
        "held-out scenes": scores.psnr.num_samples, **_likeness(scores.psnr, scores.ssim),
        "objects still named": f"{scores.named.mean:.0%} of the scenes (originals {scores.original_named.mean:.0%})",
        "whole scene still right": f"{scores.right.mean:.0%} (originals {scores.original_right.mean:.0%})",
    }  # fmt: skip


def _scores_of_pictures(model: DCAutoencoder, pictures: Sequence[Picture], seed: int, device: str) -> dict[str, object]:
    pairs = [(copy, picture) for picture in pictures for copy in rebuilt(model, [picture], device)]
    likeness = _likeness(
        estimate([min(psnr(copy, picture), MOST_PSNR) for copy, picture in pairs], seed=seed),
        estimate([ssim(copy, picture) for copy, picture in pairs], seed=seed),
    )
    return {"pictures, of those that it was trained on": len(pairs), **likeness}


def _likeness(psnr_: Estimate, ssim_: Estimate) -> dict[str, object]:
    return {
        "PSNR": f"{psnr_.mean:.2f} dB [{psnr_.low:.2f}, {psnr_.high:.2f}]",
        "SSIM": f"{ssim_.mean:.3f} [{ssim_.low:.3f}, {ssim_.high:.3f}]",
    }
