"""The words of the starter's world: its objects, colours, backgrounds and numbers.

Everything a scene can hold is listed here and nowhere else, so a caption can be checked word by word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Rgb = tuple[int, int, int]
Group = Literal["animal", "food", "vehicle", "thing", "nature", "shape"]

_EYES_AND_WHITES = ("#1c1c1c", "#212121", "#ffffff")


@dataclass(frozen=True, slots=True)
class Item:
    """One object: its words, its picture, and what stays as it is when the object is tinted.

    ``icon`` names a picture of the icon package, or is None for one we draw ourselves. ``natural`` is the
    colour word nearest to the untinted picture, if it has one. ``aspect`` is width / height of the cropped picture.
    """

    name: str
    plural: str
    group: Group
    icon: str | None
    natural: str | None
    aspect: float
    synonyms: tuple[tuple[str, str], ...]  # (singular, plural) of words for the same picture
    kept_colours: tuple[str, ...]  # that tinting leaves alone


def _item(
    name: str,
    group: Group,
    icon: str | None,
    natural: str | None,
    *,
    plural: str | None = None,
    synonyms: tuple[str | tuple[str, str], ...] = (),
    keep: str = "",
) -> Item:
    pairs = tuple((word, f"{word}s") if isinstance(word, str) else word for word in synonyms)
    kept = (*_EYES_AND_WHITES, *(f"#{colour}" for colour in keep.split()))
    return Item(name, plural or f"{name}s", group, icon, natural, _ASPECTS.get(name, 1.0), pairs, kept)


# Width / height of every cropped picture; a test holds them to the bank.
_ASPECTS: dict[str, float] = {
    "cat": 1.123, "dog": 1.067, "frog": 1.076, "fish": 1.153, "turtle": 1.641, "pig": 1.123, "bird": 0.961,
    "bee": 1.076, "strawberry": 0.711, "pizza": 0.891, "donut": 0.859, "car": 1.471, "bus": 1.267, "rocket": 1.016,
    "balloon": 0.719, "house": 1.041, "book": 0.789, "cup": 1.164, "guitar": 1.008, "gift": 0.93, "bell": 0.93,
    "crown": 1.231, "hat": 1.085, "light bulb": 0.625, "clock": 0.891, "tree": 0.82, "flower": 0.797, "cactus": 0.93,
    "sun": 0.961, "moon": 1.049, "star": 1.076, "cloud": 1.488, "heart": 1.143, "triangle": 1.113,
}  # fmt: skip

_ITEMS = (
    _item("cat", "animal", "cat-face", "orange", synonyms=("kitten",), keep="402a32 f70a8d bb1d80"),
    _item("dog", "animal", "dog-face", "orange", synonyms=(("puppy", "puppies"),), keep="ca0b4a"),
    _item("rabbit", "animal", "rabbit-face", "gray", synonyms=(("bunny", "bunnies"),), keep="f4f4f4 ca0b4a ff8687"),
    _item("frog", "animal", "frog", "green", keep="fff478"),
    _item("fish", "animal", "fish", "blue", plural="fish"),
    _item("butterfly", "animal", "butterfly", "orange", plural="butterflies", keep="321b41 533566"),
    _item("turtle", "animal", "turtle", "green", synonyms=("tortoise",), keep="c3ef3c"),
    _item("penguin", "animal", "penguin", "black", keep="ff822d"),
    _item("pig", "animal", "pig-face", "pink"),
    _item("bird", "animal", "bird", "red", keep="f9c23c"),
    _item("bee", "animal", "honeybee", "yellow", synonyms=("honeybee",), keep="533566 aeddff"),
    _item("apple", "food", "red-apple", "red", keep="00d26a"),
    _item("banana", "food", "banana", "yellow", keep="feefc2"),
    _item("strawberry", "food", "strawberry", "red", plural="strawberries", keep="008463 00d26a"),
    _item("pizza", "food", "pizza", None, synonyms=(("slice of pizza", "slices of pizza"),), keep="f8312f"),
    _item("cake", "food", "birthday-cake", None, synonyms=("birthday cake",), keep="26eafc fcd53f 00a6ed"),
    _item("mushroom", "food", "mushroom", "red", keep="ffce7c"),
    _item("donut", "food", "doughnut", "brown", synonyms=("doughnut",), keep="f3ad61 00a6ed ff6dc6"),
    _item("carrot", "food", "carrot", "orange", keep="00d26a"),
    _item("lemon", "food", "lemon", "yellow", keep="86d72f"),
    _item("car", "vehicle", "automobile", "red", synonyms=("automobile",), keep="9b9b9b 26c9fc e6e6e6 321b41"),
    _item("bus", "vehicle", "bus", "orange", plural="buses", keep="26c9fc e6e6e6 d3d3d3 fff478"),
    _item("rocket", "vehicle", "rocket", None, synonyms=("spaceship",), keep="83cbff ff8257 9b9b9b"),
    _item("boat", "vehicle", "sailboat", None, synonyms=("sailboat",), keep="00a6ed"),
    _item("airplane", "vehicle", "airplane", "gray", synonyms=("plane",), keep="9b9b9b"),
    _item("balloon", "thing", "balloon", "red", keep="3f5fff"),
    _item("umbrella", "thing", "umbrella", "purple", keep="8c5543"),
    _item("house", "thing", "house", None, keep="8c5543 402a32 d3d3d3 00f397 83cbff", synonyms=("home",)),
    _item("key", "thing", "key", "yellow"),
    _item("book", "thing", "blue-book", "blue", keep="d3d3d3"),
    _item("cup", "thing", None, "blue", synonyms=("mug",), keep="6d4534"),
    _item("ball", "thing", "basketball", "orange", synonyms=("basketball",)),
    _item("guitar", "thing", "guitar", "red", keep="d3d3d3 9b9b9b f4f4f4"),
    _item("gift", "thing", "wrapped-gift", None, synonyms=("present", ("gift box", "gift boxes"))),
    _item("bell", "thing", "bell", "yellow"),
    _item("crown", "thing", "crown", "yellow", keep="00a6ed f8312f"),
    _item("hat", "thing", "top-hat", "black", synonyms=("top hat",)),
    _item("light bulb", "thing", "light-bulb", "yellow", synonyms=("lightbulb",), keep="9b9b9b d3d3d3"),
    _item("clock", "thing", "alarm-clock", "red", synonyms=("alarm clock",), keep="d3d3d3"),
    _item("tree", "nature", "deciduous-tree", "green", keep="6d4534"),
    _item("flower", "nature", "blossom", "pink", keep="86d72f ffb02e"),
    _item("cactus", "nature", "cactus", "green", plural="cactuses"),
    _item("sun", "nature", "sun", "yellow"),
    _item("moon", "nature", "crescent-moon", "yellow", synonyms=("crescent moon",)),
    _item("star", "nature", "star", "yellow"),
    _item("cloud", "nature", "cloud", None),
    _item("heart", "nature", "red-heart", "red"),
    _item("circle", "shape", None, "red"),
    _item("square", "shape", None, "blue"),
    _item("triangle", "shape", None, "green"),
)

ITEMS: Mapping[str, Item] = {item.name: item for item in _ITEMS}

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


def background_clashes(background: str, item: Item, colour: str | None) -> bool:
    """Whether an object, tinted or not, would be hard to see before this background."""
    shown = colour or item.natural
    if background in SCENE_BACKGROUNDS:
        return shown in SCENE_BACKGROUNDS[background]
    return shown == background


# Things with a flat top on which another thing can stand.
CARRIERS = frozenset(
    {
        "barrel", "bed", "bedside table", "bench", "book", "bookcase", "box", "cabinet", "carpet", "chest",
        "coffee table", "crate", "cupboard", "cushion", "desk", "dining table", "dresser", "drum", "gift", "nightstand",
        "ottoman", "package", "pedestal", "piano", "picnic table", "pillow", "podium", "round table", "rug", "shelf",
        "side table", "sideboard", "stool", "suitcase", "table", "trunk", "tv stand",
    }
)  # fmt: skip
