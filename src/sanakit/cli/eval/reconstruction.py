"""``sanakit eval reconstruction``"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sanakit.cli.eval.options import BankOption, ExtractorOptions, MeasureOptions, NamesOption, ReaderOption

_SCENE_SIZE = 128


def reconstruction(
    network: ExtractorOptions,
    measure: MeasureOptions,
    model: Annotated[
        str, typer.Argument(help="Folder, file, hub id, starter, or the model/ of a training run.")
    ] = "starter",
    data: Annotated[
        Path | None, typer.Option(help="Folder of pictures, or a data set; held-out scenes of --bank if not given.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=32, help="Shorter side in pixels, then the middle square; scenes: 128.")
    ] = None,
    num_scenes: Annotated[int, typer.Option(min=4, help="Scenes, where no --data is given.")] = 64,
    bank: BankOption = "drawings",
    names: NamesOption = None,
    reader: ReaderOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures of one size at a time.")] = 4,
) -> None:
    """What an autoencoder keeps of pictures: PSNR, SSIM and rFID, and what a reader still sees in scenes of a bank."""
    measure.check(of_distances=data is not None)

    import torch

    from sanakit.checkpoints.networks.strict_load import load_network
    from sanakit.checkpoints.sources.complete import find_autoencoder
    from sanakit.evaluation.metrics.half_sampling import MIN_SAMPLES
    from sanakit.evaluation.reports.picture_sets import open_pictures
    from sanakit.evaluation.reports.reconstruction import HowMeasured, reconstruction_report
    from sanakit.evaluation.worlds.heldout_scenes import heldout_scenes
    from sanakit.features.scenes import open_bank
    from sanakit.scoring.reading.load import load_reader

    also, device = None, measure.start()
    if data is None:
        scenes = heldout_scenes(open_bank(bank, names), num_scenes, seed=measure.seed, size=size or _SCENE_SIZE)
        also = partial(scenes.recognised, reader=load_reader(reader, device=device))
        pictures, size = scenes.pictures, None
    else:
        pictures = open_pictures(data, **measure.which, at_least=MIN_SAMPLES)
    extractor = network.load(device)
    autoencoder = load_network(find_autoencoder(model), dtype=torch.float32, device=device)
    how = HowMeasured(
        compression=autoencoder.config.compression,
        size=size,
        seed=measure.seed,
        num_halves=network.halves,
        batch_size=batch_size,
        device=device,
    )
    used = how.use_of(autoencoder, f"autoencoder of {model}")
    with measure.bar("reconstructing", unit="pictures") as on_progress:
        report = reconstruction_report(
            autoencoder, pictures, how, used, extractor=extractor, also=also, on_progress=on_progress
        )
    measure.show(report)
