"""Small networks of our own, which no other program reads: a folder with ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from sanakit.checkpoints.files.reader import read_json, read_tensors
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import CheckpointError
from sanakit.common.files import write_json
from sanakit.common.paths import as_path

C = TypeVar("C")
M = TypeVar("M", bound=nn.Module)

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def save_small_network(model: nn.Module, config: Any, folder: Path, *, exact: Collection[str] = ()) -> None:
    """Write the weights in bfloat16; statistics, and the tensors named in ``exact``, stay in float32."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {*exact, *(name for name, _ in model.named_buffers())}
    state = model.state_dict()
    tensors = {name: tensor if name in kept else tensor.bfloat16() for name, tensor in state.items()}
    write_safetensors(folder / _WEIGHTS, tensors, {})
    write_json(folder / _CONFIG, to_mapping(config))


def load_small_network(folder: str | Path, config_type: type[C], make: Callable[[C], M], *, what: str) -> M:
    """What `save_small_network` wrote, computing in float32, in evaluation mode.

    Args:
        config_type: of the network.
        make: the network from its config.
        what: it is called in messages: "dual encoder".

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not fit the config.
    """
    folder = as_path(folder)
    try:
        config = from_mapping(config_type, read_json(folder / _CONFIG))
    except ValueError as error:
        raise CheckpointError(f"{folder} holds no {what}: its {_CONFIG} cannot be read ({error})") from error
    path = folder / _WEIGHTS
    tensors = {name: tensor.float() for name, tensor in read_tensors([path]).items()}
    with torch.device("meta"):
        model = make(config)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(f"{path} does not fit its {_CONFIG} ({reason[0].strip()})") from error
    return model.eval()
