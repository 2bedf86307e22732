"""Which reader reads pictures of the worlds."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import torch

from sanakit.common.errors import RequestError
from sanakit.common.paths import as_path
from sanakit.scoring.reading.recogniser import RecogniserReader, load_recogniser


def shipped_recogniser() -> Path:
    """Where the recogniser that comes with the package is, if it does."""
    return Path(str(resources.files("sanakit").joinpath("starter", "recogniser")))


def load_reader(model: str | Path | None = None, *, device: str | torch.device = "cpu") -> RecogniserReader:
    """The reader of a recogniser's folder; None is the one that ships. It needs no bank.

    Raises:
        RequestError: there is no recogniser.
        CheckpointError: its files are damaged.
        MissingExtraError: the packages of EfficientNet-Lite0 are not installed.
    """
    folder = shipped_recogniser() if model is None else as_path(model)
    if not (folder / "config.json").is_file():
        if model is None:
            raise RequestError(
                "this sanakit comes without a recogniser; train one (sanakit data worlds build, "
                "then sanakit train recipes/recogniser.yaml) and name the model folder of its run"
            )
        raise RequestError(f"{folder} holds no recogniser; give the model folder of a run of recipes/recogniser.yaml")
    return RecogniserReader(load_recogniser(folder), device=device)
