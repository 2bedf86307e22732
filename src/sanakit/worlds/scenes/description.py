"""What is in a picture, a clip or a world: the truth that captions are written from and pictures are scored by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from sanakit.worlds.banks.things import Style
from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND

Box = tuple[float, float, float, float]  # left, top, right, bottom in [0, 1] of the canvas
Kind = Literal["single", "count", "pair", "trio", "person"]
Relation = Literal["left", "right", "above", "below", "in front", "behind", "on"]
SizeWord = Literal["small", "big"]
ViewWord = Literal["front", "side", "behind", "above"]
MotionKind = Literal["left", "right", "up", "down", "towards", "away", "turning", "bouncing", "appearing"]
SpeedWord = Literal["slow", "quick"]
GroundKind = Literal["plain", "graded", "drawn", "place"]

MOTIONS: tuple[MotionKind, ...] = get_args(MotionKind)
RELATIONS: tuple[Relation, ...] = get_args(Relation)
OPPOSITES: Mapping[Relation, Relation] = {
    "left": "right", "right": "left", "above": "below", "below": "above", "in front": "behind", "behind": "in front",
}  # fmt: skip
# Axis (0 across, 1 down) and direction of the first object's centre as seen from the second's.
_DIRECTIONS: Mapping[Relation, tuple[int, int]] = {"left": (0, -1), "right": (0, 1), "above": (1, -1), "below": (1, 1)}
_MIN_OFFSET = 0.1  # of the canvas, between centres: less is neither left nor right


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """What an object does in a clip, as its captions say it; ``speed`` None says nothing."""

    kind: MotionKind
    speed: SpeedWord | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where an object is in one frame, which view of its look it shows, and whether it is there."""

    box: Box
    view: int
    seen: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneObject:
    """One object: ``look`` and ``view`` (its number) name a picture of the bank, ``box`` is tight around it.

    ``colour`` is a colour word that is true of it, or None if its colour is not told. ``shadow`` says that it stands on
    the ground where its box ends. ``depth`` orders objects: a higher one is farther and drawn first. ``parts`` are the
    told parts of a person. ``motion`` is what its captions say it does; ``path`` holds a pose per frame; None stands
    still.
    """

    name: str
    look: str
    view: int = 0
    colour: str | None = None
    box: Box
    shadow: bool = False
    depth: int = 0
    parts: tuple[tuple[str, str], ...] = ()
    motion: Motion | None = None
    path: tuple[Pose, ...] | None = None

    def at(self, frame: int) -> Pose:
        """Its pose in a frame; after the end of its path it stays."""
        if self.path is None:
            return Pose(box=self.box, view=self.view)
        return self.path[min(frame, len(self.path) - 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What is behind the objects.

    ``name`` is a colour word (plain), two with a space between (graded, from top to bottom), a drawn scene of the
    vocabulary or a place of the bank.
    """

    kind: GroundKind = "plain"
    name: str = DEFAULT_BACKGROUND


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """Where a camera in the middle of a place looks: degrees to the right, degrees down, degrees from edge to edge."""

    yaw: float = 0.0
    down: float = 15.0
    view_angle: float = 70.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One picture: ``single`` holds one object, ``count`` two to four alike, ``pair`` and ``trio`` different ones.

    In a pair with a ``relation`` the first object is left of / right of / above / below / in front of / behind / on the
    second. ``size``, ``view`` and ``style`` are words that its captions must say; None says nothing.
    """

    kind: Kind
    objects: tuple[SceneObject, ...]
    ground: Ground = Ground()
    camera: Camera = Camera()
    camera_path: tuple[Camera, ...] | None = None
    relation: Relation | None = None
    size: SizeWord | None = None
    view: ViewWord | None = None
    style: Style | None = None

    @property
    def count(self) -> int:
        return len(self.objects)

    @property
    def num_frames(self) -> int:
        """Of its longest path; 1 for a still."""
        paths = [thing.path for thing in self.objects if thing.path] + ([self.camera_path] if self.camera_path else [])
        return max((len(path) for path in paths), default=1)

    def camera_at(self, frame: int) -> Camera:
        if self.camera_path is None:
            return self.camera
        return self.camera_path[min(frame, len(self.camera_path) - 1)]

    def farthest_first(self) -> Iterator[int]:
        """Numbers of the objects in the order in which they are drawn."""
        return iter(sorted(range(self.count), key=lambda number: -self.objects[number].depth))

    def to_json(self) -> dict[str, Any]:
        """Plain values for a file of truths; `scene_from_json` reads them back. Of a still they are those of before
        there were motions."""
        values = asdict(self)
        for thing in values["objects"]:
            if thing["motion"] is None:
                del thing["motion"]
            for pose in thing["path"] or ():
                if pose["seen"]:
                    del pose["seen"]
        return values


def scene_from_json(values: Mapping[str, Any]) -> Scene:
    path = values["camera_path"]
    return Scene(
        **{
            **values,
            "objects": tuple(map(_object, values["objects"])),
            "ground": Ground(**values["ground"]),
            "camera": Camera(**values["camera"]),
            "camera_path": None if path is None else tuple(Camera(**pose) for pose in path),
        }
    )


def _object(values: Mapping[str, Any]) -> SceneObject:
    path, motion = values["path"], values.get("motion")
    return SceneObject(
        **{
            **values,
            "motion": motion and Motion(**motion),
            "box": tuple(values["box"]),
            "parts": tuple((key, value) for key, value in values["parts"]),
            "path": path and tuple(Pose(**{**pose, "box": tuple(pose["box"])}) for pose in path),
        }
    )


def centre(box: Box) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def relation_holds(relation: Relation, first: SceneObject, second: SceneObject) -> bool:
    """Whether the first clearly lies on that side of the second, as their centres and depths stand."""
    match relation:
        case "in front":
            return first.depth < second.depth and overlap(first.box, second.box) > 0
        case "behind":
            return relation_holds("in front", second, first)
        case "on":
            gap = abs(first.box[3] - second.box[1]) / (second.box[3] - second.box[1])
            return gap < 0.5 and second.box[0] < centre(first.box)[0] < second.box[2]
        case _:
            axis, direction = _DIRECTIONS[relation]
            return (centre(first.box)[axis] - centre(second.box)[axis]) * direction >= _MIN_OFFSET


def overlap(first: Box, second: Box) -> float:
    """The common area of two boxes, in canvases."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)


def moving(thing: SceneObject, end: Box, num_frames: int) -> SceneObject:
    """The same object on a straight path from its box to another one, in steps of equal length."""
    steps = [step / max(num_frames - 1, 1) for step in range(num_frames)]
    left, top, right, bottom = thing.box
    boxes = [
        (
            left + step * (end[0] - left), top + step * (end[1] - top),
            right + step * (end[2] - right), bottom + step * (end[3] - bottom),
        )
        for step in steps
    ]  # fmt: skip
    return replace(thing, path=tuple(Pose(box=box, view=thing.view) for box in boxes))
