"""Reading the weights of feature networks, of which the published files are old."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sanakit.checkpoints.files.reader import find_state, first_sentence, read_safetensors, strip_wrapper
from sanakit.common.errors import CheckpointError


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a ``torch.save`` file, of the archive form or of the one before it.

    Torch's weights-only reader opens both: nothing that a file names is called.

    Raises:
        CheckpointError: the file is missing, corrupt, or holds more than tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; give the path of a file of weights")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch raises, the file is not one of tensors only
        reason = first_sentence(error)
        raise CheckpointError(f"{path} is cut short, or holds more than tensors ({reason})") from error
    tensors = find_state(content)
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors; give a file of weights")
    return strip_wrapper(tensors)
