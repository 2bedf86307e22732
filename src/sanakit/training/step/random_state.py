"""The process's own random generators (torch, numpy, Python) as tensors, and back."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def random_state() -> dict[str, Tensor]:
    """A copy of all of them."""
    _, words, gauss = random.getstate()
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    generator = state["state"]
    tensors = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": torch.tensor([math.nan if gauss is None else gauss], dtype=torch.float64),
        "numpy": torch.from_numpy(np.asarray(generator["key"]).astype(np.int64)),
        "numpy_rest": torch.tensor([generator["pos"], state["has_gauss"], state["gauss"]], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    return tensors


def seed_everything(seed: int) -> None:
    """Begin all of them from one seed; our own draws have generators of their own, those of libraries may not."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def restore_random_state(tensors: Mapping[str, Tensor]) -> None:
    """Put them back; without any tensors they stay as they are."""
    if "torch" in tensors:
        gauss = float(tensors["python_gauss"])
        torch.set_rng_state(tensors["torch"])
        random.setstate((3, tuple(tensors["python"].tolist()), None if math.isnan(gauss) else gauss))
        position, has_gauss, cached = tensors["numpy_rest"].tolist()
        key = tensors["numpy"].numpy().astype(np.uint32)
        np.random.set_state(("MT19937", key, int(position), int(has_gauss), cached))
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
