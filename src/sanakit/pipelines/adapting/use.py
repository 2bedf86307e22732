"""An adapter as a request names it, and what records tell of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from sanakit.common.errors import CheckpointError, PictureError, RequestError
from sanakit.common.paths import as_path
from sanakit.pipelines.sources.picture import last_name

MAX_WEIGHT = 100.0


class AdapterUse(BaseModel):
    """How much of which adapter; in a record the name of its file, the SHA-256 of that, and the weight."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, AfterValidator(last_name)] = ""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    weight: float = Field(1.0, ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False)
    _path: Path | None = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AdapterUse) and (self.sha256, self.weight) == (other.sha256, other.weight)

    def __hash__(self) -> int:
        return hash((self.sha256, self.weight))

    def __str__(self) -> str:
        return f"{self.name or 'an adapter'} ({self.sha256[:10]})"

    @property
    def path(self) -> Path:
        """Its file; raises RequestError where only its facts are here."""
        if self._path is None:
            raise RequestError(f"{self} is not here; give its file as an adapter.")
        return self._path

    @staticmethod
    def of(given: object) -> AdapterUse:
        """Of ``FILE``, ``FILE:WEIGHT``, or a pair of both; the file may be the folder that holds it.

        Raises:
            CheckpointError: it is no file of an adapter.
            RequestError: the weight is no number that can be used, or it is something else.
        """
        match given:
            case AdapterUse():
                return given
            case str():
                return _of_file(*_split(given))
            case Path():
                return _of_file(given, 1.0)
            case [str() | Path() as path, float() | int() as weight]:
                return _of_file(as_path(path), float(weight))
        raise RequestError(f"adapters={given!r:.60} is not usable; give .safetensors files, or (file, weight).")

    def found(self, folders: Iterable[Path], given: Sequence[AdapterUse]) -> AdapterUse:
        """The same with its file: one of those that are given, else the one of its name in a folder.

        Raises:
            PictureError: it is not there.
        """
        for other in given:
            if other.sha256 == self.sha256:
                return other.weighing(self.weight)
        for folder in folders:
            with suppress(CheckpointError):
                if self.name and (found := _of_file(folder / self.name, self.weight)) == self:
                    return found
        raise PictureError(f"it was made with {self}, which is not beside it; name that with --adapter (adapters=)")

    def weighing(self, weight: float) -> AdapterUse:
        """The same with another weight."""
        return self.model_copy(update={"weight": weight})


def as_adapters(given: Any) -> Any:
    """What a request takes for adapters, or the facts of some: one or several."""
    match given:
        case str() | Path() | AdapterUse() | (str() | Path(), float() | int()):
            given = [given]
    if not isinstance(given, (list, tuple)):
        raise RequestError(f"adapters={given!r:.60} is not usable; give names of .safetensors files in a list.")
    return tuple(each if isinstance(each, Mapping) else AdapterUse.of(each) for each in given)


def _split(words: str) -> tuple[Path, float]:
    """A weight is a number behind the last colon; a file whose name ends so is itself."""
    name, colon, number = words.rpartition(":")
    path = as_path(words)
    if not colon or path.exists():
        return path, 1.0
    try:
        return as_path(name), float(number)
    except ValueError:
        return path, 1.0


def _of_file(path: Path, weight: float) -> AdapterUse:
    if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
        raise RequestError(f"the weight {weight} of {path} is not usable; 1 is as trained, {MAX_WEIGHT:g} the most.")
    from sanakit.checkpoints.adapters.files import read_adapter  # and torch, which a bad request need not wait for

    file = read_adapter(path)
    name = file.path.name if file.path.name.isprintable() else ""
    use = AdapterUse(name=name, sha256=file.sha256, weight=weight)
    use._path = file.path
    return use
