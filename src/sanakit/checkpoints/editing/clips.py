"""A network of clips from one of pictures (SANA-Video, arXiv:2509.24695, section 3.1): what both have is copied."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def of_pictures(
    fresh: Mapping[str, Tensor], trained: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a video transformer, and the names of those that stay as they were drawn.

    A tensor that the image transformer has in the same shape is its own, and patches of one frame are patches of
    pictures. With the convolution over time at zero, as it is drawn, frames do not see each other there at first.

    Args:
        fresh: of the video transformer, drawn for training, under our names.
        trained: of the image transformer, under our names.
    """
    found = {
        name: trained[name].reshape(tensor.shape)
        for name, tensor in fresh.items()
        if name in trained and _without_time(tensor) == tuple(trained[name].shape)
    }
    return {**fresh, **found}, tuple(name for name in fresh if name not in found)


def _without_time(tensor: Tensor) -> tuple[int, ...]:
    """A kernel of one frame, ``(out, in, 1, h, w)``, as one of pictures."""
    shape = tuple(tensor.shape)
    return (*shape[:2], *shape[3:]) if len(shape) == 5 and shape[2] == 1 else shape
