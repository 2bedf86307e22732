"""Whether there is room where pictures are to go, and in their files, asked before minutes are spent."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sanakit.common.errors import OutputError, RequestError
from sanakit.pipelines.picture_place import OutputPlace

_BYTES_OF_A_SCORE = 130  # at most, with the seed of its candidate
_EXIF_BYTES_FOR_PROMPTS = 60_000  # of 65 000, the rest being settings and versions


def check_metadata(place: OutputPlace, texts: Sequence[str], num_scores: int = 0) -> None:
    """Find out before minutes are spent whether prompts, and so many scores of candidates, fit into a file: PNG takes
    any, EXIF is limited.

    Raises:
        RequestError: they do not.
    """
    longest, scores = max(len(json.dumps(text)) for text in texts), num_scores * _BYTES_OF_A_SCORE
    if place.image_format != "png" and longest + scores > _EXIF_BYTES_FOR_PROMPTS:
        what = f"a prompt of {longest} bytes" + (f" with {num_scores} scores" if num_scores else "")
        raise RequestError(
            f"{what} does not fit into the metadata of a {place.image_format} file, which holds "
            f"{_EXIF_BYTES_FOR_PROMPTS} bytes; write a PNG, or add --no-metadata"
        )


def check_folder(folder: Path, num_bytes: int) -> None:
    """Whether ``num_bytes`` can be written into ``folder``, or into the folder where it will be made."""
    existing = folder.absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"{existing} is a file, and {folder} was to be a folder; choose another --output")
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"0" * 4096)
            probe.flush()
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise OutputError(f"{existing} cannot be written to ({error.strerror}); choose another --output") from error
    if free < num_bytes:
        raise OutputError(
            f"{existing} has {free / 1e6:.1f} MB free and {num_bytes / 1e6:.1f} MB may be needed; make room first"
        )
