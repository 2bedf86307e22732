"""Rollouts on the disk: what an iteration is learned from, and a record of every picture that was ever made.

``buffer/000012/0003.safetensors`` holds the latents and the text of a group, as long as its iteration lasts;
``iteration-000012.parquet`` stays. A group that is there is whole, and is made by the weights that its stamp says.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.config import json_values
from sanakit.common.errors import CheckpointError
from sanakit.common.files import written_aside
from sanakit.data.curation.parts import arrow, write_table
from sanakit.models.text.text_condition import TextCondition

Record = dict[str, Any]
"""Of one picture, plain values; see ``COLUMNS``."""

COLUMNS = {
    "iteration": "int64", "group": "int64", "prompt": "string", "told": "string", "metadata": "string",
    "seed": "int64", "stage": "string", "precision": "string", "sampler": "string", "sigmas": "list",
    "revision": "string", "marks": "string", "facts": "string", "reward": "float64", "advantage": "float64",
    "kept": "bool",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """What became of a prompt: ``records`` of all its pictures, those in full precision in the order of the file."""

    path: Path
    records: Sequence[Record]

    @property
    def full(self) -> list[Record]:
        """Of the pictures in full precision."""
        return [record for record in self.records if record["stage"] == "full"]

    def latents(self, picture: int, first: int, last: int) -> Tensor:
        """Of a picture in full precision, those of its path from ``first`` up to before ``last``: ``(S, C, h, w)``."""
        with self._opened() as file:
            return file.get_slice("paths")[picture, first:last]

    def last_latent(self, picture: int) -> Tensor:
        """The clean one, ``(C, h, w)``."""
        with self._opened() as file:
            rows = file.get_slice("paths")
            return rows[picture, rows.get_shape()[1] - 1]

    def text(self) -> TextCondition:
        """One row, as the network was told it."""
        with self._opened() as file:
            return TextCondition(file.get_tensor("embeds"), file.get_tensor("mask").bool())

    def _opened(self) -> Any:
        try:
            return safe_open(self.path, "pt")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"the rollouts of {self.path} are damaged ({error})") from error


class Buffer:
    """The rollouts of a run in its folder ``rollouts/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, iteration: int, group: int, stamp: str) -> Group | None:
        """A finished group; None if there is none, or other weights or settings made it."""
        path = self._path(iteration, group)
        try:
            with safe_open(path, "pt") as file:
                content = json_values(file.metadata()["rollout"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None
        return Group(path, content["records"]) if content["stamp"] == stamp else None

    def write(
        self, place: tuple[int, int], stamp: str, paths: Tensor, text: TextCondition, records: Sequence[Record]
    ) -> Group:
        """A group of an iteration (their numbers are its place), whole or not at all; ``paths`` are
        ``(K, S, C, h, w)``."""
        path = self._path(*place)
        tensors = {"paths": paths, "embeds": text.embeds, "mask": text.mask.byte()}
        content = json.dumps({"stamp": stamp, "records": list(records)})
        with written_aside(path) as building:
            write_safetensors(building, tensors, {"rollout": content})
        return Group(path, records)

    def record(self, iteration: int, records: Sequence[Record]) -> None:
        """Write the table of an iteration; an earlier one of the same number is replaced."""
        pa = arrow()
        kinds = {name: pa.list_(pa.float64()) if kind == "list" else kind for name, kind in COLUMNS.items()}
        schema = pa.schema({name: pa.type_for_alias(k) if isinstance(k, str) else k for name, k in kinds.items()})
        write_table(self.folder / f"iteration-{iteration:06d}.parquet", [list(records)], schema)

    def forget(self, before: int) -> None:
        """The latents of earlier iterations, which nothing is learned from any more."""
        for folder in sorted((self.folder / "buffer").glob("*")):
            if folder.name.isdecimal() and int(folder.name) < before:
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, iteration: int, group: int) -> Path:
        return self.folder / "buffer" / f"{iteration:06d}" / f"{group:04d}.safetensors"
