"""Reading the weights of feature networks, of which the published files are old."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from sanakit.checkpoints.files.reader import read_safetensors, strip_wrapper
from sanakit.checkpoints.files.torch_archive import read_torch
from sanakit.common.errors import CheckpointError


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a ``torch.save`` file, of the archive form or of the one before it.

    Raises:
        CheckpointError: the file is missing, corrupt, or holds no tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give the path of a file of weights")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    return strip_wrapper(read_torch(path))
