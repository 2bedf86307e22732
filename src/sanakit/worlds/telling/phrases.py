"""The words for one thing, and the wordings for sides, styles, grounds and relations that captions choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.things import Style
from sanakit.worlds.sampling.holdout import Split, is_heldout
from sanakit.worlds.scenes.description import Ground, Relation, Scene, SceneObject, ViewWord
from sanakit.worlds.scenes.vocabulary import DEFAULT_BACKGROUND, NUMBER_WORDS

# The first of each is the plain one, which canonical captions use.
VIEWS: Mapping[ViewWord, Sequence[str]] = {
    "front": ("seen from the front", "from the front", "in front view", "viewed from the front"),
    "side": ("seen from the side", "from the side", "in profile", "in side view", "viewed from the side"),
    "behind": ("seen from behind", "from behind", "from the back", "viewed from behind", "seen from the back"),
    "above": ("seen from above", "from above", "viewed from above", "from a high angle"),
}
STYLES: Mapping[Style, Sequence[str]] = {
    "flat": (
        "a flat drawing of", "a flat illustration of", "an icon of", "a clip art picture of", "a flat icon of",
        "a simple vector drawing of", "clip art of",
    ),
    "3d": ("a 3-D emoji of", "a 3D emoji of", "a glossy 3-D icon of", "a 3D icon of", "a shiny 3-D cartoon of"),
    "rendered": (
        "a 3-D render of", "a 3D render of", "a rendering of", "a 3-D model of", "a computer-generated image of",
        "a realistic 3-D rendering of",
    ),
}  # fmt: skip
RELATION_WORDINGS: Mapping[Relation, Sequence[str]] = {
    "left": (
        "{} to the left of {}", "{} on the left of {}", "{} left of {}", "{} on the left and {} on the right",
        "{} on the left side of {}", "on the left {}, on the right {}",
    ),
    "right": (
        "{} to the right of {}", "{} on the right of {}", "{} right of {}", "{} on the right and {} on the left",
        "{} on the right side of {}", "on the right {}, on the left {}",
    ),
    "above": ("{} above {}", "{} over {}", "{} at the top and {} at the bottom", "{} floating above {}"),
    "below": ("{} below {}", "{} under {}", "{} beneath {}", "{} at the bottom and {} at the top", "{} underneath {}"),
    "in front": (
        "{} in front of {}", "{} standing in front of {}", "{} in the foreground and {} behind it",
        "{} in front and {} behind it", "{} partly hiding {}",
    ),
    "behind": (
        "{} behind {}", "{} standing behind {}", "{} partly hidden behind {}", "{} in the background behind {}",
        "{} at the back and {} in front of it",
    ),
    "on": ("{} on {}", "{} on top of {}", "{} standing on {}", "{} placed on {}", "{} sitting on top of {}"),
}  # fmt: skip
NO_RELATION = ("{} and {}", "{} and {}", "{} next to {}", "{} beside {}", "{} with {}", "{} and {} side by side")
THREE = ("{}, {} and {}", "{}, {}, and {}", "{} with {} and {}")
PREFIXES = (
    "a picture of", "an image of", "a drawing of", "an illustration of", "a view of", "show me", "draw", "create",
    "make a picture of", "generate an image of", "a nice picture of", "a simple picture of",
)  # fmt: skip
_DRAWN_PREFIXES = ("a drawing of", "an illustration of", "draw")  # not true of what is rendered
_PLAIN_GROUND = (
    "on a {} background", "with a {} background", "against a {} background", "in front of a {} background",
    "on a plain {} background", "before a {} background",
)  # fmt: skip
_GRADED_GROUND = (
    "on a background fading from {} to {}", "on a {} to {} gradient background", "with a gradient from {} to {}",
    "on a gradient of {} and {}", "against a background that fades from {} to {}",
)  # fmt: skip
_DRAWN_GROUND: Mapping[str, Sequence[str]] = {
    "night": ("at night", "in the night sky", "at night with stars in the sky", "in front of the night sky"),
    "grass": ("on the grass", "on green grass", "in a meadow", "on a grass field"),
    "beach": ("on the beach", "at the beach", "on a beach by the sea"),
    "snow": ("in the snow", "on the snow", "in a snowy field"),
}


@lru_cache(maxsize=256)
def wordings(pool: Sequence[str], split: Split) -> Sequence[str]:
    """Those that may be used: training never uses a held-out wording, and always the first."""
    if split == "heldout":
        return pool
    return (pool[0], *(wording for wording in pool[1:] if not is_heldout(f"wording|{wording}")))


def prefixes(scene: Scene, bank: Bank, split: Split) -> Sequence[str]:
    """Openings that are true of the scene."""
    pool = wordings(PREFIXES, split)
    return [prefix for prefix in pool if prefix not in _DRAWN_PREFIXES] if has_rendered(scene, bank) else pool


def has_rendered(scene: Scene, bank: Bank) -> bool:
    """Whether something in it is no drawing."""
    looks = (bank.look(thing.name, thing.look) for thing in scene.objects)
    return any(look is not None and look.style == "rendered" for look in looks)


def ground_wordings(ground: Ground, bank: Bank) -> tuple[str, ...]:
    """Ways to say what is behind, the plain one first."""
    return bank.places[ground.name].wordings if ground.kind == "place" else wordings_behind(ground)


def wordings_behind(ground: Ground) -> tuple[str, ...]:
    """The same for all but places, whose words are a bank's."""
    match ground.kind:
        case "plain":
            vowel = ground.name[0] in "aeiou"
            pool = [wording.replace(" a {}", " an {}") if vowel else wording for wording in _PLAIN_GROUND]
            return tuple(wording.format(ground.name) for wording in pool)
        case "graded":
            first, second = ground.name.split()
            texts = (wording.format(first, second) for wording in _GRADED_GROUND)
            return tuple(text.replace(" a orange", " an orange") for text in texts)
        case _:
            return tuple(_DRAWN_GROUND[ground.name])


def is_default(ground: Ground) -> bool:
    return ground == Ground(kind="plain", name=DEFAULT_BACKGROUND)


def noun(scene: Scene, words: tuple[str, str], *, size: str | None, colour: str | None, number: str | None) -> str:
    """ "a big red apple", "three red apples"; ``words`` are singular and plural."""
    if scene.kind == "count":
        return join(number or NUMBER_WORDS[scene.count], size, colour, words[1])
    text = join(size, colour, words[0])
    return with_article(text) if has_singular(words) else text


def has_singular(words: tuple[str, str]) -> bool:
    """Whether one of it is "a ...": not of "jeans" and "bread", of which there are pairs and loaves."""
    one, many = words
    return one.endswith(_SAME_PLURAL) if one == many else not many.endswith(f" of {one}")


def person(thing: SceneObject) -> str:
    """ "a smiling person with red hair and glasses"."""
    before = [word for part, word in thing.parts if part in _ADJECTIVES]
    hair_first = sorted(thing.parts, key=lambda part: part[0] != "hair")
    after = [_part(part, word) for part, word in hair_first if part not in _ADJECTIVES]
    text = with_article(join(*before, thing.name))
    return f"{text} with {' and '.join(after)}" if after else text


def with_article(words: str) -> str:
    word = words.lower()
    vowel = word.startswith(_SILENT) or (word[0] in "aeiou" and not word.startswith(_SOUNDS_LIKE_YOU))
    return f"{'an' if vowel else 'a'} {words}"


def join(*words: str | None) -> str:
    return " ".join(word for word in words if word)


_SILENT = ("hour", "honest", "heir")
_SOUNDS_LIKE_YOU = ("uni", "use", "usb", "ufo", "uku", "eu", "one-", "ute")
_SAME_PLURAL = ("fish", "deer", "sheep", "moose", "elk", "bison", "shrimp", "squid")  # one of them is "a ..."
_ADJECTIVES = ("expression", "drawn", "colour")


def _part(part: str, word: str) -> str:
    """ "red hair", "glasses", "a beard", "a blue cap"."""
    if part == "hair":
        return word if word.endswith("hair") else f"{word} hair"
    several = word.endswith("s") and not word.endswith("ss")
    return word if several or word.startswith(("one ", "no ")) else with_article(word)
