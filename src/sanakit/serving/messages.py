"""What passes between a server and its lanes; plain values, since a lane is another process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from sanakit.pipelines.clips.place import ClipFormat
from sanakit.pipelines.picture_file import PictureFormat
from sanakit.pipelines.request import GenerationRequest
from sanakit.serving.places import Kept

Reason = Literal["request", "memory", "cancelled", "deadline", "stopped", "crash", "failed"]
"""Why there is no picture: the request's fault, too little memory, somebody's wish, an end of the server, ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileForm:
    """How a finished picture or clip is written; ``quality`` from 0 to 100 is for JPEG and WebP, None is ours."""

    format: PictureFormat | ClipFormat = "png"
    quality: int | None = None
    metadata: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One picture to make.

    Args:
        request: complete, of one picture.
        previews: numbers of steps, from 0, after which a preview is wanted.
        latent: where it is kept as far as it is, and from where it goes on; None for nowhere.
    """

    key: str
    request: GenerationRequest
    form: FileForm = field(default_factory=FileForm)
    previews: frozenset[int] = frozenset()
    latent: Kept | None = None
    priority: int = 0

    def shows(self, step: int) -> bool:
        """Whether there is to be a preview after it."""
        return step in self.previews

    def with_priority(self, priority: int) -> Work:
        """The same, more or less urgent."""
        return replace(self, priority=priority)


@dataclass(frozen=True, slots=True)
class Add:
    """Begin with it, or go on."""

    work: Work


@dataclass(frozen=True, slots=True)
class Remove:
    """Let a picture go; with ``hand_back`` it is kept as far as it is, and ``Returned`` is the answer."""

    key: str
    hand_back: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """The lane is to end."""


@dataclass(frozen=True, slots=True)
class Told:
    """A notice about a picture, in one sentence."""

    key: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Step:
    """Step ``index`` (from 0) of ``total`` is done, after ``seconds``; ``preview`` is a picture file."""

    key: str
    index: int
    total: int
    seconds: float = 0.0
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A picture is finished: its file, its record as JSON, its size, seconds by stage."""

    key: str
    content: bytes
    record: str
    size: tuple[int, int] = (0, 0)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no picture, and why, in one sentence."""

    key: str
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Returned:
    """A picture left a lane unfinished and is to go on in another, or later; ``lack`` says that memory ran out."""

    key: str
    lack: bool = False


@dataclass(frozen=True, slots=True)
class Gone:
    """A picture was let go, as was asked."""

    key: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A lane has ended by itself."""


ToLane = Add | Remove | Stop
FromLane = Told | Step | Done | Failed | Returned | Gone | Lost
