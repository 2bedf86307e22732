"""Colour profiles of picture files: what a picture is in sRGB, which is what networks and screens take it for."""

from __future__ import annotations

import io
import logging
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

logger = logging.getLogger(__name__)

_SAME_LEVELS = 2  # a profile that moves no colour further is sRGB, whatever it is called
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # colour space of a profile to the mode that it speaks of
_OF_GRAY = ("L", "RGB")
_KEPT_PROFILES = 64


def in_srgb(picture: Image.Image) -> Image.Image:
    """The picture by its embedded ICC profile: RGB or gray of 8 bits with the alpha that it has, or, where there is no
    profile, one that means sRGB, one of another kind of colours or a damaged one, as it is."""
    profile = _profile_of(picture)
    if profile is None:
        return picture
    mode, transform = profile
    alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
    plain = picture if picture.mode == mode else picture.convert("RGB").convert(mode)
    converted = ImageCms.applyTransform(plain, transform)
    assert converted is not None  # it is None only in place
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def is_srgb(picture: Image.Image) -> bool:
    """Whether readers that know no profiles see its colours right."""
    return _profile_of(picture) is None


def _profile_of(picture: Image.Image) -> tuple[str, Any] | None:
    """The mode that the profile speaks of and the way to sRGB, if it changes anything."""
    content = picture.info.get("icc_profile")
    found = _way_to_srgb(content) if isinstance(content, bytes) and content else None
    spoken_of = {"CMYK": ("CMYK",), "1": _OF_GRAY, "L": _OF_GRAY, "LA": _OF_GRAY}.get(picture.mode, ("RGB",))
    return found if found is not None and found[0] in spoken_of else None


@lru_cache(_KEPT_PROFILES)
def _way_to_srgb(content: bytes) -> tuple[str, Any] | None:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        mode = _MODES.get(profile.profile.xcolor_space.strip())
        if mode is None:
            return None
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if mode != "CMYK" and _changes_nothing(mode, transform) else (mode, transform)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        logger.info("a colour profile is damaged and does not count: %s", error)
        return None


def _changes_nothing(mode: str, transform: Any) -> bool:
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    if mode == "RGB":
        levels = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
    else:
        levels = levels[None]
    probe = Image.fromarray(levels)
    found = ImageCms.applyTransform(probe, transform)
    assert found is not None
    difference = np.abs(np.asarray(found, np.int64) - np.asarray(probe.convert("RGB"), np.int64))
    return int(difference.max()) <= _SAME_LEVELS
