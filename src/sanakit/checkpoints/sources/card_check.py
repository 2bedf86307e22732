"""Weights against their card as they are loaded: where that takes no time, a changed file is not taken for the model.

Of large models the hashes in the card are believed, and ``sanakit info --verify`` reads every byte when asked to.
"""

from __future__ import annotations

from sanakit.checkpoints.sources.content_hashes import hash_files
from sanakit.checkpoints.sources.sources import ModelParts
from sanakit.common.errors import CheckpointError

MAX_BYTES = 100_000_000  # of transformer and autoencoder together: 0.1 s or less for the starter's 22 MB


def check_small_weights(parts: ModelParts) -> None:
    """Refuse a small transformer or autoencoder that is not the one whose hash is in the card.

    Raises:
        CheckpointError: the weights were changed or damaged after the card was written.
    """
    networks = {"transformer": parts.transformer, "autoencoder": parts.autoencoder}
    present = {name: weights for name, weights in networks.items() if weights is not None}
    num_bytes = sum(file.stat().st_size for weights in present.values() for file in weights.files)
    if parts.card is None or num_bytes > MAX_BYTES:
        return
    for name, weights in present.items():
        expected = getattr(parts.card.hashes, name)
        if expected and (found := hash_files(weights.files)) != expected:
            raise CheckpointError(
                f"the {name} in {weights.place} has content hash {found[:12]} and its card says {expected[:12]}: it "
                f"was changed or damaged after the card was written; load it with force to use it all the same"
            )
