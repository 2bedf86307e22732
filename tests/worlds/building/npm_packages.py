"""Packages of the npm registry as small as a test needs them, and the pictures that are in them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from PIL import Image


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def webp(*frames: Image.Image) -> bytes:
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True, duration=40)
    return file.getvalue()
