"""What a recogniser should answer, and how far from it its answers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.models.recogniser import GRID, NUM_SPECIAL, ONE_COLOUR, UNKNOWN, Findings, Names, RecogniserConfig
from sanakit.worlds.scenes.description import Box, Ground, centre

NOT_ASKED = -1
_SPREAD = 0.7  # cells around a centre in which a wrong "here" is forgiven in part


class Truth(NamedTuple):
    """Of pictures. ``heat`` ``(B, 8, 8)`` is 1 in the cell of a centre and falls off around it; ``boxes``
    ``(B, 4, 8, 8)`` as in `Findings`, where ``heat`` is 1; the others ``(B,)`` are numbers."""

    heat: Tensor
    boxes: Tensor
    grounds: Tensor
    upper: Tensor
    lower: Tensor


def picture_truth(ground: Ground, boxes: Sequence[Box], words: RecogniserConfig) -> Truth:
    """The truth of one picture, without the dimension of the batch."""
    heat, targets = torch.zeros(GRID, GRID), torch.zeros(4, GRID, GRID)
    cells = torch.arange(GRID) + 0.5
    for box in boxes:
        x, y = (min(max(value * GRID, 0.0), GRID - 1e-3) for value in centre(box))
        column, row = int(x), int(y)
        near = torch.exp(-((cells - y)[:, None] ** 2 + (cells - x)[None] ** 2) / (2 * _SPREAD**2)).clamp(max=0.99)
        heat = torch.maximum(heat, near)
        heat[row, column] = 1.0
        sides = torch.tensor([box[2] - box[0], box[3] - box[1]]).clamp(min=0.01).log()
        targets[:, row, column] = torch.cat([torch.tensor([x - column, y - row]), sides])
    number, upper, lower = ground_numbers(ground, words)
    return Truth(heat, targets, torch.tensor(number), torch.tensor(upper), torch.tensor(lower))


def ground_numbers(ground: Ground, words: RecogniserConfig) -> tuple[int, int, int]:
    """Of the ground, and of its upper and lower colour; those of drawn ones and places are not asked."""
    if ground.kind in ("plain", "graded"):
        colours = ground.name.split()
        return ONE_COLOUR, words.ground_colours.index(colours[0]), words.ground_colours.index(colours[-1])
    return 1 + words.grounds.index(ground.name), NOT_ASKED, NOT_ASKED


def name_numbers(name: str | None, colour: str | None, words: RecogniserConfig) -> tuple[int, int]:
    """Of a name and a colour; the colour of what is like nothing known is not asked."""
    if name is None or name not in words.names:
        return UNKNOWN, NOT_ASKED
    return NUM_SPECIAL + words.names.index(name), 0 if colour is None else 1 + words.colours.index(colour)


def finding_terms(found: Findings, truth: Truth) -> Mapping[str, Tensor]:
    """Focal loss of centres, distance of boxes, cross-entropy of what is behind.

    Source: the penalty-reduced focal loss of Zhou et al., Objects as Points, arXiv:1904.07850.
    """
    here = truth.heat == 1
    likely = found.heat.float().sigmoid().clamp(1e-5, 1 - 1e-5)
    loss = torch.where(here, (1 - likely) ** 2 * -likely.log(), (1 - truth.heat) ** 4 * likely**2 * -(1 - likely).log())
    num = here.sum().clamp(min=1)
    boxes = (found.boxes.float() - truth.boxes).abs().sum(1)[here].sum() / num
    colours = _asked(found.upper, truth.upper) + _asked(found.lower, truth.lower)
    grounds = F.cross_entropy(found.grounds.float(), truth.grounds)
    return {"centre": loss.sum() / num, "box": boxes, "ground": grounds + colours}


def naming_terms(said: Names, names: Tensor, colours: Tensor) -> Mapping[str, Tensor]:
    """Cross-entropies of names and colours ``(N,)``, and the share of names that come first."""
    right = (said.names.detach().argmax(1) == names).float().mean()
    loss = F.cross_entropy(said.names.float(), names, label_smoothing=0.02)
    return {"name": loss, "colour": _asked(said.colours, colours), "named": right}


def _asked(logits: Tensor, numbers: Tensor) -> Tensor:
    """Mean cross-entropy where there is a question, 0 if there is none."""
    total = F.cross_entropy(logits.float(), numbers, ignore_index=NOT_ASKED, reduction="sum")
    return total / (numbers != NOT_ASKED).sum().clamp(min=1)
