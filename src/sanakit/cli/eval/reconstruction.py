"""``sanakit eval reconstruction``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanakit.cli.eval.distances import (
    ExtractorOption,
    HalvesOption,
    LimitOption,
    ReportOption,
    ResizeOption,
    SeedOption,
    check_report,
    show_report,
)
from sanakit.cli.terminal.options import DeviceOption, JsonOption, QuietOption, resolve_device
from sanakit.common.errors import RequestError

if TYPE_CHECKING:
    from sanakit.models.autoencoders.dc_ae import DCAutoencoder

_SCENE_SIZE = 128


def reconstruction(
    model: Annotated[
        str, typer.Argument(help="Folder, file, hub id, starter, or the autoencoder.pt of a training run.")
    ] = "starter",
    data: Annotated[
        Path | None, typer.Option(help="Folder of pictures, or a data set; held-out starter scenes if not given.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=32, help="Shorter side in pixels, then the middle square; scenes: 128.")
    ] = None,
    num_scenes: Annotated[int, typer.Option(min=4, help="Scenes, where no --data is given.")] = 64,
    limit: LimitOption = None,
    extractor: ExtractorOption = "efficientnet-lite0",
    resize: ResizeOption = None,
    seed: SeedOption = 0,
    halves: HalvesOption = 100,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures of one size at a time.")] = 4,
    output: ReportOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """What an autoencoder keeps of pictures: PSNR, SSIM and rFID, and what is still recognised of starter scenes."""
    check_report(output)

    from sanakit.checkpoints.identity.hashing import hash_tensors
    from sanakit.cli.terminal.picture_run import show_log
    from sanakit.cli.terminal.progress import ProgressBar
    from sanakit.evaluation.metrics.half_sampling import MIN_SAMPLES
    from sanakit.evaluation.reports.picture_sets import open_pictures
    from sanakit.evaluation.reports.reconstruction import picture_reconstruction_report, starter_pictures
    from sanakit.evaluation.reports.report import NetworkUse
    from sanakit.scoring.extractors.load import load_extractor

    show_log(quiet=quiet)
    truths = None
    if data is None:
        pictures, truths = starter_pictures(num_scenes, seed=seed, size=size or _SCENE_SIZE)
        size = None
    else:
        pictures = open_pictures(data, limit=limit, at_least=MIN_SAMPLES)
    place = resolve_device(device)
    network = load_extractor(extractor, resize=resize, device=place)
    autoencoder = load_autoencoder_of(model, place)
    use = NetworkUse(
        name=f"autoencoder of {model}", weights_hash=hash_tensors(autoencoder.state_dict()),
        resize_rule="as they are" if size is None else f"Lanczos to {size} pixels of the shorter side, middle square",
    )  # fmt: skip
    with ProgressBar("reconstructing", unit="pictures", quiet=quiet) as bar:
        report = picture_reconstruction_report(
            autoencoder, pictures, network, compression=autoencoder.config.compression, autoencoder_use=use, size=size,
            truths=truths, seed=seed, num_halves=halves, batch_size=batch_size, device=place, on_progress=bar.update,
        )  # fmt: skip
    show_report(report, output, as_json=as_json, quiet=quiet)


def load_autoencoder_of(model: str, device: str) -> DCAutoencoder:
    """The autoencoder alone, in float32: neither the transformer nor the text encoder is touched."""
    import torch

    from sanakit.checkpoints.bundle import find_autoencoder
    from sanakit.checkpoints.networks.strict_load import load_dc_ae
    from sanakit.checkpoints.sources.sources import HubOptions

    if Path(model).suffix == ".pt":
        from sanakit.training.recipes.autoencoder.recipe import load_autoencoder

        if not Path(model).is_file():
            raise RequestError(f"{model} does not exist; give the autoencoder.pt of a training run")
        return load_autoencoder(Path(model)).to(device).eval().requires_grad_(False)
    found = find_autoencoder(model, HubOptions())
    return load_dc_ae(found, dtype=torch.float32, device=device).eval().requires_grad_(False)
