"""The page of an autoencoder's run: curves, pictures beside their reconstructions, and what they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from sanakit.common.pixels import Picture, from_signed
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.evaluation.reports.picture_sets import in_memory
from sanakit.evaluation.reports.reconstruction import HowMeasured, rebuilt, reconstruction_report
from sanakit.evaluation.reports.report import Report
from sanakit.features.configs import PixelDataConfig, ScenePictures
from sanakit.features.open import pixel_data
from sanakit.features.scenes import Paintings, open_bank, scene_pixels
from sanakit.features.work import Demand
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.training.watching.report import draw_curves, read_log, spent, write_report

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
        paintings = Paintings(open_bank(data.bank, data.names), seed, "heldout")
        pictures = from_signed(scene_pixels(paintings, range(NUM_REPORT_SCENES), resolution))
        shown = pictures[:NUM_SHOWN]
        results = _scores_of_pictures(model, pictures, how, "held-out scenes")
    else:
        shown = _training_pictures(data, resolution, seed, model.config.compression)
        results = _scores_of_pictures(model, shown, how, "pictures, of those that it was trained on")
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


def _scores_of_pictures(
    model: DCAutoencoder, pictures: Sequence[Picture], how: HowMeasured, what: str
) -> dict[str, object]:
    shown = in_memory(what, [str(number) for number in range(len(pictures))], pictures)
    report = reconstruction_report(model, shown, how, how.use_of(model, "the autoencoder"))
    return {what: len(pictures), **_likeness(report)}


def _likeness(report: Report) -> dict[str, object]:
    ratio, likeness = report["PSNR"], report["SSIM"]
    return {
        "PSNR": f"{ratio.value:.2f} dB [{ratio.low:.2f}, {ratio.high:.2f}]",
        "SSIM": f"{likeness.value:.3f} [{likeness.low:.3f}, {likeness.high:.3f}]",
    }
