"""Files of a run, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write tensors and plain values beside ``path`` and rename: a stopped run leaves the last whole file."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)
