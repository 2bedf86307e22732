"""Losses of a dual encoder: every pair of a batch is its own yes-or-no question; of each family one must be chosen."""

from __future__ import annotations

import torch
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


def within_families_loss(logits: Tensor, labels: Tensor, size: int) -> Tensor:
    """Cross-entropy of each picture's own caption among the wrong ones of its family, and of each caption's picture.

    Nearly all pairs of a batch are told apart by the things in them; what is left to learn is within families. Pairs
    whose label is 0 are left out.

    Args:
        logits: ``(B, B)``, own pairs on the diagonal, families of ``size`` together.
        labels: ``(B, B)``, see `siglip_loss`.
    """
    own = torch.arange(len(logits), device=logits.device).unflatten(0, (-1, size))
    rows, columns = own[:, :, None], own[:, None, :]
    asked = (labels[rows, columns] < 0) | (rows == columns)
    family = logits[rows, columns].masked_fill(~asked, -torch.inf)  # (families, size, size)
    chosen = family.diagonal(dim1=1, dim2=2)
    return (family.logsumexp(2) + family.logsumexp(1) - 2 * chosen).mean()
