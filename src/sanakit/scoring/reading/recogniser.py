"""The reader that is a network: a recogniser over EfficientNet-Lite0, in and out of a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sanakit.checkpoints.files.small_network import load_small_network, save_small_network
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import ShapeError
from sanakit.common.pixels import Picture
from sanakit.models.recogniser import (
    GRID,
    NUM_SPECIAL,
    ONE_COLOUR,
    ONLY_GROUND,
    UNKNOWN,
    CutoutMaps,
    Findings,
    PictureMaps,
    Recogniser,
    RecogniserConfig,
)
from sanakit.scoring.reading.looking import Looking, cut_out, squared
from sanakit.worlds.reading.read_scene import ReadObject, ReadScene
from sanakit.worlds.scenes.description import Box, overlap

_HERE = 0.3  # probability of a centre from which on something is there
_SURE = 0.35  # of all names' probability, from which on one is said
_UNKNOWN_ODDS = 7.0  # "like nothing known" counts if it is so much likelier than the name: a quarter of what it saw was
_GROUND_SURE = 0.4
_SAME = 0.6  # of the smaller of two boxes that both cover, from which on they are one thing
_MOST = 8  # things of one picture


class RecogniserReader:
    """Finds, cuts out and names; what it is not sure of has no name.

    Args:
        model: moved to ``device``.
    """

    name = "sanakit-recogniser"
    resize_rule = "bicubic to 128 x 128, aspect ratio not kept"

    def __init__(self, model: Recogniser, *, device: str | torch.device = "cpu") -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.looking = Looking().to(device)
        self.weights_hash = hash_tensors(model.state_dict())

    @property
    def words(self) -> RecogniserConfig:
        return self.model.config

    @torch.inference_mode()
    def read(self, picture: Picture) -> ReadScene:
        """What ``(H, W, 3)`` uint8 RGB shows.

        Raises:
            ShapeError: it is no RGB picture.
        """
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise ShapeError(f"a picture of shape {picture.shape} cannot be read; it must be (H, W, 3)")
        picture = squared(picture)
        found: Findings = self.model.finder(PictureMaps(*self.looking.pictures([picture])))
        boxes = found_boxes(found.heat[0].sigmoid(), found.boxes[0])
        ground, place = self._ground(found)
        objects = self._named(picture, boxes) if boxes else ()
        return ReadScene(objects=objects, ground=ground, place=place)

    def _named(self, picture: Picture, boxes: list[Box]) -> tuple[ReadObject, ...]:
        said = self.model.namer(CutoutMaps(*self.looking.cutouts(cut_out(picture, boxes))))
        likely, colours = said.names.softmax(1), said.colours.argmax(1)
        objects = []
        for box, shares, colour in zip(boxes, likely, colours.tolist(), strict=True):
            if int(shares.argmax()) == ONLY_GROUND:
                continue
            number = NUM_SPECIAL + int(shares[NUM_SPECIAL:].argmax())
            score = float(shares[number] / (shares[NUM_SPECIAL:].sum() + shares[UNKNOWN] / _UNKNOWN_ODDS))
            known = score >= _SURE and shares[UNKNOWN] < _UNKNOWN_ODDS * shares[number]
            name = self.words.names[number - NUM_SPECIAL] if known else None
            shown = self.words.colours[colour - 1] if known and colour else None
            objects.append(ReadObject(name=name, colour=shown, box=box, score=score))
        return tuple(sorted(objects, key=lambda thing: -thing.score))

    def _ground(self, found: Findings) -> tuple[str | None, str | None]:
        shares = found.grounds[0].softmax(0)
        number = int(shares.argmax())
        if shares[number] < _GROUND_SURE:
            return None, None
        if number == ONE_COLOUR:
            upper, lower = (self.words.ground_colours[int(part[0].argmax())] for part in (found.upper, found.lower))
            return upper if upper == lower else f"{upper} {lower}", None
        name = self.words.grounds[number - 1]
        return (name, None) if name in self.words.drawn_grounds else (None, name)


def save_recogniser(model: Recogniser, folder: Path) -> None:
    """Its ``config.json`` holds its words."""
    save_small_network(model, model.config, folder)


def load_recogniser(folder: str | Path) -> Recogniser:
    """What `save_recogniser` wrote; raises ``CheckpointError`` if it is missing or damaged."""
    return load_small_network(folder, RecogniserConfig, Recogniser, what="recogniser")


def found_boxes(heat: Tensor, boxes: Tensor) -> list[Box]:
    """The peaks of ``(8, 8)`` probabilities, the clearest first, with boxes from ``(4, 8, 8)``; no thing twice."""
    around = torch.nn.functional.max_pool2d(heat[None, None], 3, stride=1, padding=1)[0, 0]
    peaks = torch.where(heat == around, heat, 0).flatten()
    found: list[Box] = []
    for place in peaks.argsort(descending=True)[:_MOST].tolist():
        if peaks[place] < _HERE:
            break
        row, column = divmod(place, GRID)
        across, down, width, height = boxes[:, row, column].tolist()
        x, y = (column + across) / GRID, (row + down) / GRID
        half_width, half_height = (min(2.718281828**side, 1.0) / 2 for side in (width, height))
        box = (x - half_width, y - half_height, x + half_width, y + half_height)
        if not any(overlap(box, other) > _SAME * min(_area(box), _area(other)) for other in found):
            found.append(box)
    return found


def _area(box: Box) -> float:
    return max((box[2] - box[0]) * (box[3] - box[1]), 1e-6)
