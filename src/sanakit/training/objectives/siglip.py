"""The sigmoid loss of a dual encoder: every pair of a batch is its own yes-or-no question."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError


def siglip_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of all pictures with all texts, summed over the texts, per picture.

    ``loss = -1/B sum_ij log sigmoid(labels_ij logits_ij)`` with ``logits = scale <picture_i, text_j> + bias``. Pairs
    whose label is 0 are left out: texts that are true of a picture and say less than its own.

    Args:
        logits: ``(B, M)``.
        labels: ``(B, M)``: 1 the text is the picture's, -1 it is wrong of it, 0 not asked.

    Raises:
        ShapeError: labels of another shape.

    Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, arXiv:2303.15343, algorithm 1.
    """
    if labels.shape != logits.shape:
        raise ShapeError(
            f"labels of shape {tuple(labels.shape)} for logits of shape {tuple(logits.shape)}; each pair needs one"
        )
    return (F.softplus(-labels * logits) * (labels != 0)).sum() / len(labels)
