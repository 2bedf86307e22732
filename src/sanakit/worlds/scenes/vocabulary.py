"""The words of all worlds: colours, grounds, numbers, sizes. Things, places and people are data of a bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Rgb = tuple[int, int, int]
# The fifty things that the starter that ships was trained on.
FIRST_NAMES = (
    "cat", "dog", "rabbit", "frog", "fish", "butterfly", "turtle", "penguin", "pig", "bird", "bee", "apple",
    "banana", "strawberry", "pizza", "cake", "mushroom", "donut", "carrot", "lemon", "car", "bus", "rocket",
    "boat", "airplane", "balloon", "umbrella", "house", "key", "book", "cup", "ball", "guitar", "gift", "bell",
    "crown", "hat", "light bulb", "clock", "tree", "flower", "cactus", "sun", "moon", "star", "cloud", "heart",
    "circle", "square", "triangle",
)  # fmt: skip

# The colour a tinted object takes where its picture has its main colour.
COLOURS: Mapping[str, Rgb] = {
    "red": (222, 40, 44),
    "orange": (250, 136, 20),
    "yellow": (252, 208, 36),
    "green": (38, 166, 66),
    "blue": (32, 112, 228),
    "purple": (134, 62, 190),
    "pink": (255, 112, 178),
    "brown": (130, 80, 48),
    "black": (44, 44, 48),
    "white": (242, 242, 244),
}

# Plain backgrounds are softer than objects of the same colour word, so that both can be told apart.
PLAIN_BACKGROUNDS: Mapping[str, Rgb] = {
    "white": (255, 255, 255),
    "red": (240, 98, 92),
    "orange": (255, 178, 92),
    "yellow": (255, 233, 128),
    "green": (132, 208, 132),
    "blue": (122, 176, 246),
    "purple": (178, 140, 226),
    "pink": (255, 192, 216),
    "brown": (168, 124, 94),
    "black": (24, 24, 26),
    "gray": (186, 188, 194),
}
DEFAULT_BACKGROUND = "white"  # what a picture has when its caption names none

# Simple scenes, with the colour words an object in front of them must not have.
SCENE_BACKGROUNDS: Mapping[str, tuple[str, ...]] = {
    "night": ("black",),
    "grass": (),
    "beach": ("yellow",),
    "snow": ("white",),
}
BACKGROUNDS = (*PLAIN_BACKGROUNDS, *SCENE_BACKGROUNDS)

NUMBER_WORDS: Mapping[int, str] = {1: "one", 2: "two", 3: "three", 4: "four"}
SIZE_WORDS: Mapping[str, Sequence[str]] = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}


# Things with a flat top on which another thing can stand.
CARRIERS = frozenset(
    {
        "barrel", "bed", "bedside table", "bench", "book", "bookcase", "box", "cabinet", "carpet", "chest",
        "coffee table", "crate", "cupboard", "cushion", "desk", "dining table", "dresser", "drum", "gift", "nightstand",
        "ottoman", "package", "pedestal", "piano", "picnic table", "pillow", "podium", "round table", "rug", "shelf",
        "side table", "sideboard", "stool", "suitcase", "table", "trunk", "tv stand",
    }
)  # fmt: skip
