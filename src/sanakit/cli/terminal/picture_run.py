"""A run of the pipeline seen from the shell: a bar, notices, and pictures that are saved as soon as they are done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanakit.cli.terminal.console import log_handler, tell
from sanakit.cli.terminal.failures import Interrupted
from sanakit.common.errors import OutputError

if TYPE_CHECKING:
    from sanakit.pipelines.clips.place import ClipPlace
    from sanakit.pipelines.events import Event
    from sanakit.pipelines.picture_place import OutputPlace
    from sanakit.pipelines.result import GeneratedImage

Save = Callable[["GeneratedImage"], Path]
OnFile = Callable[[Path], None]
_FETCHES = ("checkpoints.text.starter_text_encoder", "checkpoints.upscalers.real_esrgan", "worlds.building.assembly")


class PictureRun:
    """Listens to a pipeline. Files that are written stay, whatever happens to the pictures after them, and ``on_file``
    is told of each at once."""

    def __init__(
        self,
        *,
        num_images: int,
        quiet: bool,
        save: Save | None = None,
        on_file: OnFile = lambda _: None,
        noun: str = "picture",
    ) -> None:
        self.num_images, self.quiet, self.save, self.on_file = num_images, quiet, save, on_file
        self.noun = noun
        self.files: list[Path] = []
        self.facts: list[dict[str, Any]] = []  # of the same pictures, for ``--json``
        self.notices: list[str] = []
        self.num_done = self.num_steps = 0
        self.position = "before the first step"

    @property
    def told(self) -> dict[str, Any]:
        """What ``--json`` says of the run."""
        return {"pictures": self.facts, "notices": self.notices}

    @contextmanager
    def bar(self) -> Iterator[Callable[[Event], None]]:
        """Give the function that the pipeline is to call; a Ctrl-C comes out as ``Interrupted``."""
        from sanakit.cli.terminal.progress import ProgressBar

        show_log(quiet=self.quiet)
        with ProgressBar("starting", unit="steps", quiet=self.quiet) as bar:

            def on_event(event: Event) -> None:
                self._on_event(event, bar)

            try:
                yield on_event
            except KeyboardInterrupt:
                raise Interrupted(self._farewell()) from None

    def _on_event(self, event: Event, bar: Any) -> None:
        from sanakit.pipelines.events import ImageDone, Judged, Notice, StepDone

        match event:
            case StepDone():
                self.num_steps += 1
                self.position = f"at step {event.index + 1} of {event.total}"
                bar.update(self.num_steps, event.total * event.num_images, self._label())
            case ImageDone():
                if self.save is not None:
                    self._keep(event.image, self.save(event.image))
                self.num_done += 1
            case Judged():
                self.num_steps += event.dropped * (event.total - event.step)  # which nobody has to wait for
            case Notice():
                self.notices.append(event.message)
                tell(f"note: {event.message}", quiet=self.quiet)

    def _keep(self, picture: GeneratedImage, file: Path) -> None:
        self.files.append(file)
        self.facts.append(picture_facts(picture, file))
        self.on_file(file)

    def _label(self) -> str:
        number = min(self.num_done + 1, self.num_images)
        return "denoising" if self.num_images == 1 else f"{self.noun} {number} of {self.num_images}"

    def _farewell(self) -> str:
        if self.num_done == 0:
            return f"interrupted {self.position}; nothing was written"
        return (
            f"interrupted {self.position}; {self.num_done} of {self.num_images} {self.noun}s were finished and are kept"
        )


def save_to(place: OutputPlace | ClipPlace, *, with_metadata: bool) -> Save:
    """A function that writes a picture where it belongs, if it is not in a file already."""

    def save(picture: GeneratedImage) -> Path:
        written: Path | None = getattr(picture, "file", None)
        try:
            return written or picture.save(place, metadata=with_metadata)
        except OutputError as error:
            raise OutputError(f"{error}; {_kept_latent(picture)}") from error

    return save


def _kept_latent(picture: GeneratedImage) -> str:
    """Keep what took minutes where there may still be room, and say how to go on."""
    from sanakit.pipelines.latent_file import SavedLatent, rescue_latent

    assert picture.latent is not None
    try:
        path = rescue_latent(SavedLatent(latent=picture.latent, record=picture.record))
    except OutputError:
        return "its latent found no room either, so the picture is lost; its prompt and seed make it again"
    return f"the finished latent is safe, so make room and run: sanakit decode {path}{picture.record.model.options}"


def picture_facts(image: GeneratedImage, file: Path) -> dict[str, Any]:
    """What a program may want to know of a picture, for ``--json``."""
    return {"file": str(file), "recipe": image.record.model_dump(mode="json")}


def show_log(*, quiet: bool) -> None:
    """Let warnings of the library through to stderr, and remarks about fetching something large."""
    if quiet or logging.getLogger().handlers or logging.getLogger("sanakit").handlers:
        return
    logging.getLogger("sanakit").addHandler(log_handler("%(message)s"))
    for fetches in _FETCHES:
        logging.getLogger(f"sanakit.{fetches}").setLevel(logging.INFO)
