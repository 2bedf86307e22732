"""The page of an autoencoder's run: curves, pictures beside their reconstructions, and what they keep."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sanakit.common.errors import MissingExtraError, RequestError
from sanakit.common.pixels import Picture, from_signed
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.evaluation.reports.picture_sets import in_memory
from sanakit.evaluation.reports.reconstruction import HowMeasured, rebuilt, reconstruction_report
from sanakit.evaluation.reports.report import Report
from sanakit.evaluation.worlds.heldout_scenes import heldout_scenes
from sanakit.features.configs import PixelDataConfig, ScenePictures
from sanakit.features.open import pixel_data
from sanakit.features.scenes import Paintings, open_bank, scene_pixels
from sanakit.features.work import Demand
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.scoring.reading.load import load_reader
from sanakit.scoring.reading.recogniser import RecogniserReader
from sanakit.training.watching.report import draw_curves, read_log, spent, write_report
from sanakit.worlds.banks.bank import Bank

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
    device: str,
) -> Path:
    """Write ``report.md`` with ``curves.png`` and ``reconstructions.png``: rows of pictures, each above its copy.

    Args:
        recipe: as plain values, for the page.
        data, resolution: of the last stage, whose pictures are shown.
    """
    logs = logs_of_stages(folder / "log.jsonl", [stage["name"] for stage in recipe["stages"]])
    images = draw_curves(logs, ("loss", "mse"), folder)
    seed = recipe["seed"]
    how = HowMeasured(compression=model.config.compression, seed=seed, batch_size=8, device=device)
    if isinstance(data, ScenePictures):
        bank = open_bank(data.bank, data.names)
        shown = from_signed(scene_pixels(Paintings(bank, seed, "heldout"), range(NUM_SHOWN), resolution))
        results = _scores_of_scenes(model, bank, resolution, how)
    else:
        shown = _training_pictures(data, resolution, seed, model.config.compression)
        results = _scores_of_pictures(model, shown, how)
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


def _scores_of_scenes(model: DCAutoencoder, bank: Bank, size: int, how: HowMeasured) -> dict[str, object]:
    """Also what a reader still sees in the reconstructions, where there is one."""
    scenes = heldout_scenes(bank, NUM_REPORT_SCENES, seed=how.seed, size=size)
    results = {"held-out scenes": NUM_REPORT_SCENES}
    reader = _reader(how)
    if reader is None:
        report = reconstruction_report(model, scenes.pictures, how, how.use_of(model, "the autoencoder"))
        return {**results, **_likeness(report)}
    recognised = partial(scenes.recognised, reader=reader)
    used = how.use_of(model, "the autoencoder")
    report = reconstruction_report(model, scenes.pictures, how, used, also=recognised)
    named, right = recognised([np.asarray(picture) for picture in scenes.pictures])
    return {
        **results,
        **_likeness(report),
        "things still named": f"{report['things named'].value:.0%} of the scenes (originals {named.value:.0%})",
        "whole scene still right": f"{report['scenes all right'].value:.0%} (originals {right.value:.0%})",
    }


def _reader(how: HowMeasured) -> RecogniserReader | None:
    """The one that ships; None, which the log tells, where there is none or a package is missing."""
    try:
        return load_reader(device=how.device)
    except (RequestError, MissingExtraError) as error:
        logger.warning("the report does not say what is still recognised: %s", error)
        return None


def _scores_of_pictures(model: DCAutoencoder, pictures: Sequence[Picture], how: HowMeasured) -> dict[str, object]:
    what = "pictures, of those that it was trained on"
    shown = in_memory(what, [str(number) for number in range(len(pictures))], pictures)
    report = reconstruction_report(model, shown, how, how.use_of(model, "the autoencoder"))
    return {what: len(pictures), **_likeness(report)}


def _likeness(report: Report) -> dict[str, object]:
    ratio, likeness = report["PSNR"], report["SSIM"]
    return {
        "PSNR": f"{ratio.value:.2f} dB [{ratio.low:.2f}, {ratio.high:.2f}]",
        "SSIM": f"{likeness.value:.3f} [{likeness.low:.3f}, {likeness.high:.3f}]",
    }
