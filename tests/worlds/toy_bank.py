"""A small bank of plain shapes, with several sides, styles, places and people: enough for every kind of scene."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import Contents, load_bank, write_bank
from sanakit.worlds.banks.things import Group, Look, Person, Place, Style, Thing, View

# name, group, natural colour, width and height of its pictures, styles
_THINGS: tuple[tuple[str, Group, str | None, tuple[int, int], tuple[Style, ...]], ...] = (
    ("dog", "animal", "brown", (60, 50), ("rendered", "3d", "flat")),
    ("cat", "animal", "orange", (50, 60), ("3d", "flat")),
    ("apple", "food", "red", (56, 60), ("3d", "flat")),
    ("lemon", "food", "yellow", (60, 44), ("3d", "flat")),
    ("car", "vehicle", "red", (60, 30), ("rendered", "3d")),
    ("table", "furniture", None, (60, 40), ("rendered",)),
    ("chair", "furniture", None, (40, 60), ("rendered",)),
    ("cup", "thing", "white", (60, 50), ("rendered", "3d")),
    ("balloon", "thing", "red", (44, 60), ("3d", "flat")),
    ("house", "building", None, (60, 60), ("rendered", "flat")),
    ("square", "shape", "blue", (60, 60), ("flat",)),
    ("penguin", "animal", "black", (40, 60), ("3d",)),
)
_RGB = {
    "brown": (130, 80, 48), "orange": (250, 136, 20), "red": (222, 40, 44), "yellow": (252, 208, 36),
    "white": (242, 242, 244), "blue": (32, 112, 228), "black": (44, 44, 48), None: (120, 150, 130),
}  # fmt: skip
_SIDES = ((0, 20), (45, 20), (90, 20), (180, 20), (270, 20), (315, 20), (0, 60))


def write_toy_bank(folder: Path) -> Bank:
    """Write the bank into ``folder`` and open it."""
    members: dict[str, bytes] = {}
    things = tuple(_thing(*row, members) for row in _THINGS)
    places = []
    for name, colours in {
        "park": ((150, 200, 250), (60, 140, 50)),
        "kitchen": ((220, 210, 190), (140, 90, 60)),
    }.items():
        members[f"places/{name}.webp"] = _webp(_panorama(*colours))
        member, wordings = f"places/{name}.webp", (f"in a {name}", f"in the {name}")
        indoors = name == "kitchen"
        places.append(
            Place(name=name, wordings=wordings, member=member, indoors=indoors, licence="CC0", author="tests")
        )
    people = tuple(_people(members))
    contents = Contents(name="toy", things=things, places=tuple(places), people=people)
    write_bank(folder, contents, members)
    return load_bank(folder)


def _thing(
    name: str,
    group: Group,
    natural: str | None,
    size: tuple[int, int],
    styles: tuple[Style, ...],
    members: dict[str, bytes],
) -> Thing:
    looks = []
    for style in styles:
        sides = _SIDES if style == "rendered" else _SIDES[:1]
        views = []
        for number, (yaw, pitch) in enumerate(sides):
            member = f"{name}-{style}/{number:02d}.webp"
            view = View(yaw, pitch, 0, size, member)
            image, mask = _drawing(size, _RGB[natural], style, yaw)
            members[member], members[view.companion("tint")] = _webp(image), _webp(mask)
            views.append(view)
        looks.append(
            Look(
                id=f"{name}-{style}", style=style, views=tuple(views), tintable=True, natural=natural,
                licence="CC0", author="tests", source="tests",
            )
        )  # fmt: skip
    synonyms = {"dog": (("puppy", "puppies"),), "car": (("automobile", "automobiles"),)}.get(name, ())
    return Thing(
        name=name, plural=f"{name}s", group=group, looks=tuple(looks), synonyms=synonyms, keywords=("nice",),
        floats=name == "balloon", size_cm=(40.0, 40.0, 60.0) if "rendered" in styles else None,
    )  # fmt: skip


def _people(members: dict[str, bytes]) -> Iterator[Person]:
    for number, parts in enumerate(
        (
            {"kind": "person", "hair": "red", "glasses": "glasses", "expression": "smiling"},
            {"kind": "person", "hair": "black", "beard": "beard", "hat": "cap"},
            {"kind": "robot", "colour": "blue", "eyes": "round"},
        )
    ):
        member = f"person-{number}/00.webp"
        members[member] = _webp(_drawing((50, 60), (200, 150, 120), "flat", 0)[0])
        view = View(0, 0, 0, (50, 60), member)
        look = Look(id=f"person-{number}", style="flat", views=(view,), licence="CC0", author="tests", source="tests")
        yield Person(look=look, parts=parts)


def _drawing(
    size: tuple[int, int], colour: tuple[int, ...], style: Style, yaw: float
) -> tuple[Image.Image, Image.Image]:
    """A body whose outline says the style and whose white eye says the side, and the mask of the body."""
    width, height = size
    image, mask = Image.new("RGBA", size), Image.new("L", size)
    for canvas, fill in ((image, (*colour, 255)), (mask, 255)):
        draw = ImageDraw.Draw(canvas)
        shape = draw.rectangle if style == "rendered" else draw.ellipse
        shape((0, 0, width - 1, height - 1), fill=fill)
    x = width * (0.5 + 0.3 * np.sin(np.radians(yaw)))
    for canvas, fill in ((image, (255, 255, 255, 255)), (mask, 0)):
        if yaw != 180:
            ImageDraw.Draw(canvas).ellipse((x - 5, height * 0.2, x + 5, height * 0.2 + 10), fill=fill)
    return image, mask


def _panorama(sky: tuple[int, ...], ground: tuple[int, ...]) -> Image.Image:
    """Sky above, ground below, and a red pole at yaw 90."""
    image = Image.new("RGB", (256, 128), sky)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 64, 256, 128), fill=ground)
    draw.rectangle((190, 40, 194, 80), fill=(200, 0, 0))
    return image


def _webp(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, quality=0, method=0)
    return file.getvalue()
