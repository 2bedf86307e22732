"""A latent on disk: safetensors with the record of its picture, so that steps and decoding can be done later."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.files import unwritten, write_new, written_aside
from sanakit.common.paths import as_path
from sanakit.pipelines.record import PictureRecord
from sanakit.sampling.evaluation import Known

_RECORD = "sanakit_recipe"  # as 0.1.0 wrote it
_INDEX = "sanakit_step"
_SIGMAS = "sanakit_known_sigmas"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedLatent:
    """A latent ``(1, C, ..., h, w)`` float32, scaled as everywhere outside the autoencoder, and its picture's record.

    An unfinished one has the ``index`` of the step that is to be done next, and what its solver remembers.
    """

    latent: Tensor
    record: PictureRecord
    index: int | None = None
    previous: Tensor | None = None
    known: Known | None = None


def save_latent(path: str | Path, saved: SavedLatent) -> Path:
    """Write ``saved``, whole or not at all.

    Raises:
        OutputError: the disk is full or the place cannot be written.
    """
    path = as_path(path)
    with written_aside(path) as building:
        _write(building, saved)
    return path


def _write(path: Path, saved: SavedLatent) -> None:
    known = saved.known
    given = {"latent": saved.latent, "previous": saved.previous, "known": None if known is None else known.velocities}
    tensors = {name: x.detach().float().cpu().contiguous() for name, x in given.items() if x is not None}
    step = {} if saved.index is None else {_INDEX: str(saved.index)}
    if known is not None:
        step[_SIGMAS] = json.dumps(known.sigmas)
    save_file(tensors, path, metadata={_RECORD: saved.record.to_json(), **step})


def as_latents(given: object) -> Tensor:
    """Latents as people give them: a tensor as it is, and an array of any order of bytes and numbers.

    Raises:
        RequestError: it is neither, or not of real numbers.
    """
    if isinstance(given, np.ndarray) and np.can_cast(given.dtype, np.float32, "same_kind"):
        return torch.from_numpy(given.astype(np.float32))
    if isinstance(given, Tensor) and not given.is_complex():
        return given
    kind = given.dtype if isinstance(given, (np.ndarray, Tensor)) else type(given).__name__
    raise RequestError(f"latents={kind} are not usable; give a tensor or an array of real numbers.")


def hash_latent(latent: Tensor) -> str:
    """SHA-256 of the float32 values of one picture's latent, ``(1, C, h, w)`` or ``(C, h, w)``."""
    return hashlib.sha256(latent.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()).hexdigest()


def latent_name(record: PictureRecord) -> str:
    """The name of the file in which a latent is kept: it follows from the record."""
    digest = hashlib.sha256(record.to_json().encode()).hexdigest()
    return f"seed{record.request.seed}-{digest[:8]}.safetensors"


def rescue_latent(saved: SavedLatent, folder: Path | None = None) -> Path:
    """Keep a latent under a name that nothing has, which begins as its picture's record says.

    Args:
        folder: None is one of this user alone in the system's temporary folder.

    Raises:
        OutputError: there is no place for it either.
    """
    if folder is None:
        with unwritten(Path("the folder of finished latents")):
            folder = _own_folder(f"sanakit-{os.getuid()}" if hasattr(os, "getuid") else "sanakit")
    return write_new(folder / latent_name(saved.record), lambda path: _write(path, saved))


def _own_folder(name: str) -> Path:
    """A folder in the temporary one, which all users share: what another user has put there is not used."""
    folder = Path(tempfile.gettempdir()) / name
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if os.name == "nt":  # where everybody has a temporary folder of their own
            return folder
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid():
            if facts.st_mode & 0o077:
                folder.chmod(0o700)
            return folder
    return Path(tempfile.mkdtemp(prefix=f"{name}-"))


@contextmanager
def rescued(finished: SavedLatent, folder: Path | None) -> Iterator[Callable[[], Path]]:
    """A function that keeps ``finished`` as ``rescue_latent`` does; what it wrote is removed when the block ends
    well, and what other runs have kept there is not touched."""
    written: list[Path] = []

    def save() -> Path:
        if not written:
            written.append(rescue_latent(finished, folder))
        return written[0]

    yield save
    for path_written in written:
        path_written.unlink(missing_ok=True)


def load_latent(path: str | Path) -> SavedLatent:
    """Read what ``save_latent`` wrote.

    Raises:
        PictureError: no such file, or not a latent of ours.
    """
    path = as_path(path)
    if not path.is_file():
        raise PictureError(f"{path} does not exist or is no file; give a latent that sanakit saved")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (SafetensorError, OSError) as error:
        raise PictureError(f"{path} could not be read as a latent ({error}); it must be a safetensors file") from None
    if _RECORD not in metadata or "latent" not in tensors:
        raise PictureError(f"{path} is not a latent that sanakit saved; it holds no latent with a record")
    index = metadata.get(_INDEX)
    if index is not None and not (index.isascii() and index.isdigit()):
        raise PictureError(f"{path} is damaged: it says step {index[:40]!r}, which is no number")
    return SavedLatent(
        latent=tensors["latent"],
        record=PictureRecord.from_json(metadata[_RECORD]),
        index=None if index is None else int(index),
        previous=tensors.get("previous"),
        known=_known(path, tensors.get("known"), metadata.get(_SIGMAS)),
    )


def _known(path: Path, velocities: Tensor | None, sigmas: str | None) -> Known | None:
    if velocities is None and sigmas is None:
        return None
    try:
        levels = tuple(float(sigma) for sigma in json.loads(sigmas or ""))
    except (ValueError, TypeError):
        levels = ()
    if velocities is None or velocities.ndim == 0 or not 1 <= len(velocities) == len(levels) <= 2:
        raise PictureError(f"{path} is damaged: what it remembers of the last velocities does not fit together")
    return Known(levels, velocities)
