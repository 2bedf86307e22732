"""In which dtypes a loaded model works, for reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sanakit.checkpoints.bundle import ModelBundle


def working_dtypes(bundle: ModelBundle) -> str:
    """``float32``, or one for each part where they differ: ``transformer bfloat16, autoencoder float32, ...``."""
    dtypes = {
        "transformer": bundle.transformer.compute_dtype,
        "autoencoder": bundle.autoencoder.compute_dtype,
        "text encoder": bundle.text_encoder.compute_dtype,
    }
    names = {part: str(dtype).removeprefix("torch.") for part, dtype in dtypes.items()}
    return ", ".join(set(names.values()) if len(set(names.values())) == 1 else (f"{p} {n}" for p, n in names.items()))
