"""Weights against their card as they are loaded: where that takes no time, a changed file is not taken for the model.

Of large models the hashes in the card are believed, and ``sanakit info --verify`` reads every byte when asked to.
"""

from __future__ import annotations

from sanakit.checkpoints.sources.content_hashes import hash_network
from sanakit.checkpoints.sources.sources import ModelParts
from sanakit.common.errors import CheckpointError

MAX_BYTES = 100_000_000  # of transformer and autoencoder together: 0.1 s or less for the starter's 22 MB


def check_small_weights(parts: ModelParts) -> None:
    """Refuse a small transformer or autoencoder that is not the one whose hash is in the card.

    Raises:
        CheckpointError: the weights were changed or damaged after the card was written.
    """
    num_bytes = sum(file.stat().st_size for found in parts.networks.values() for file in found.files)
    if parts.card is None or num_bytes > MAX_BYTES:
        return
    for name, found in parts.networks.items():
        expected = parts.card.hashes.get(name)
        if expected and (value := hash_network(found)) != expected:
            raise CheckpointError(
                f"the {name} in {found.place} has content hash {value[:12]} and its card says {expected[:12]}: it "
                f"was changed or damaged after the card was written; load it with force to use it all the same"
            )
