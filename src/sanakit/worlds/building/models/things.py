"""Models become things: rendered from many sides, one by one, and kept when finished."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import cos, radians, sin
from pathlib import Path

import numpy as np
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.common.files import write_whole
from sanakit.common.progress import OnProgress, no_progress
from sanakit.worlds.banks.things import Look, Thing, View
from sanakit.worlds.building.emoji.words import plural_of
from sanakit.worlds.building.models.colour_words import colour_word
from sanakit.worlds.building.models.furniture import Model, load_mesh, read_catalogues
from sanakit.worlds.building.models.model_list import Entry, chosen, model_list, other_names
from sanakit.worlds.building.models.obj import Floats, Material, Mesh
from sanakit.worlds.building.models.renderer import Renderer, Shot, StagedMesh

logger = logging.getLogger(__name__)

VERSION = 1  # of what a kept look holds; another one renders it again
VIEW_SIZE = 160
VIEWS: tuple[tuple[float, float], ...] = (
    *((float(yaw), 20.0) for yaw in range(0, 360, 30)),
    *((float(yaw), 55.0) for yaw in (15, 105, 195, 285)),
)
SOURCE = "sweethome3d-furniture"

_TINT_SHARE = 0.35  # of what is visible must be of one plain colour
_PLAIN_SPREAD = 0.07  # of a texture's colours, that still count as one
_STROKE, _NARROW = 0.25, 0.45  # of the height, of the greatest breadth: what is narrower than both is edge on
_SAME_COLOUR = 0.06  # of 0..1: materials nearer than this are painted alike
_LANGUAGES = {"zh-CN": "zh"}
_SKIPPED_LANGUAGES = {"pt-PT", "zh-TW"}
_OTHER_SCRIPTS = {"bg", "el", "ja", "ru", "zh-CN"}

Angle = tuple[float, float]  # yaw, pitch
Members = dict[str, bytes]
Views = tuple[View, ...]


def model_things(folder: Path, work: Path, on_progress: OnProgress = no_progress) -> Iterator[tuple[Thing, Members]]:
    """The things of the list that the catalogues below ``folder`` show, each with its pictures by member.

    What was rendered before is read from ``work``; a model that cannot be rendered is left out with a warning.

    Raises:
        RequestError: no catalogue, or no OpenGL.
        MissingExtraError: moderngl is not installed.
    """
    models = chosen(read_catalogues(folder))
    total, done = sum(map(len, models.values())), 0
    renderer: Renderer | None = None
    for entry in model_list():
        looks, members = [], {}
        for model in models.get(entry.name, ()):
            on_progress(done, total, f"models: {entry.name}")
            place = work / f"{look_id(model)}.zip"
            taken = _read_kept(place, model, entry)
            if taken is None:
                renderer = renderer or Renderer(VIEW_SIZE)
                taken = _render(model, entry, renderer)
                if taken is not None:
                    _keep(place, model, entry, *taken)
            if taken is not None:
                looks.append(_look(model, entry, *taken))
                members.update(taken[1])
            done += 1
        if looks:
            yield _thing(entry, models[entry.name], tuple(looks)), members
    on_progress(total, total, "models")


def look_id(model: Model) -> str:
    """``Scopia#dog`` -> ``scopia-dog``."""
    archive, name = model.id.split("#")
    return f"{archive.lower()}-{name}"


def angles_of(model: Model, entry: Entry) -> tuple[Angle, ...]:
    """The sides that a model is worth seeing from: not edge on, where a fork or a television is a stroke."""
    width, depth, height = size_of(model, entry)
    breadths = {yaw: abs(width * cos(radians(yaw))) + abs(depth * sin(radians(yaw))) for yaw, _ in VIEWS}
    widest = max(breadths.values())
    return tuple(
        angle for angle in VIEWS if breadths[angle[0]] > _STROKE * height or breadths[angle[0]] > _NARROW * widest
    )


def size_of(model: Model, entry: Entry) -> tuple[float, float, float]:
    """Width, depth and height in cm, as the list has it stand and turn."""
    width, depth, height = model.size_cm
    if entry.stand:
        depth, height = height, depth
    return (depth, width, height) if entry.turn % 180 == 90 else (width, depth, height)


def _thing(entry: Entry, models: Sequence[Model], looks: tuple[Look, ...]) -> Thing:
    return Thing(
        name=entry.name,
        plural=entry.plural,
        group=entry.group,
        looks=looks,
        synonyms=tuple((word, word if word.endswith("s") else plural_of(word)) for word in entry.also),
        names=_names(entry, models),
        size_cm=size_of(models[0], entry),
    )


def _names(entry: Entry, models: Sequence[Model]) -> dict[str, str]:
    """Names in other languages: our own list's, else of a model that the package calls as we do or by a synonym.

    In languages of another script, what is left in Latin letters was never translated.
    """
    calls = {_squeezed(model.name): model.names for model in reversed(models)}
    known = next((calls[word] for word in map(_squeezed, (entry.name, *entry.also)) if word in calls), {})
    theirs = {
        _LANGUAGES.get(language, language): name
        for language, name in known.items()
        if language not in _SKIPPED_LANGUAGES and not (language in _OTHER_SCRIPTS and name.isascii())
    }
    return {**theirs, **other_names().get(entry.name, {})}


def _squeezed(name: str) -> str:
    return name.lower().replace(" ", "")


def _render(model: Model, entry: Entry, renderer: Renderer) -> tuple[Views, Members] | None:
    try:
        mesh, textures = load_mesh(model)
    except (PictureError, ValueError) as error:  # numbers that are none
        logger.warning("%s is left out: %s", model.id, error)
        return None
    stage = renderer.stage(_turned(mesh, entry), textures)
    try:
        flagged = _paintable(stage, textures) if entry.tint else frozenset()
        shots = {angle: stage.shoot(*angle, VIEW_SIZE, flagged) for angle in angles_of(model, entry)}
    finally:
        stage.release()
    return _encoded(look_id(model), shots, tintable=bool(flagged))


def _turned(mesh: Mesh, entry: Entry) -> Mesh:
    turn = np.eye(3, dtype=np.float32)
    if entry.stand:  # its upper side looks to the front, its far end is on top
        turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    if entry.turn:
        sine, cosine = np.sin(np.radians(entry.turn)), np.cos(np.radians(entry.turn))
        turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], np.float32) @ turn
    return replace(mesh, points=mesh.points @ turn.T, normals=mesh.normals @ turn.T)


def _paintable(stage: StagedMesh, textures: Mapping[str, bytes]) -> frozenset[int]:
    """The materials of the one plain colour that most is of; none if it is too little, or nearly black."""
    shares = stage.shares(30, 20)
    for index, share in stage.shares(210, 20).items():
        shares[index] = (shares.get(index, 0.0) + share) / 2
    colours = {
        index: colour
        for index, material in enumerate(stage.materials)
        if shares.get(index) and (colour := _plain_colour(material, textures)) is not None
    }
    best: frozenset[int] = frozenset()
    for colour in colours.values():
        alike = frozenset(i for i, other in colours.items() if np.abs(other - colour).max() < _SAME_COLOUR)
        best = max(best, alike, key=lambda group: sum(shares[i] for i in group))
    return best if sum(shares[i] for i in best) >= _TINT_SHARE else frozenset()


def _plain_colour(material: Material, textures: Mapping[str, bytes]) -> Floats | None:
    """RGB 0..1, if the material is opaque, of one colour, and not nearly black."""
    colour = np.array(material.colour, np.float32)
    if material.texture in textures:
        try:
            with Image.open(io.BytesIO(textures[material.texture or ""])) as picture:
                pixels = np.asarray(picture.convert("RGB").resize((32, 32)), np.float32) / 255.0
        except OSError:
            return None
        if pixels.std((0, 1)).max() > _PLAIN_SPREAD:
            return None
        colour = pixels.mean((0, 1))
    return colour if material.alpha >= 0.95 and colour.max() > 0.18 else None


def _encoded(name: str, shots: Mapping[Angle, Shot], *, tintable: bool) -> tuple[Views, Members]:
    views, members = [], {}
    for number, ((yaw, pitch), shot) in enumerate(shots.items()):
        height, width = shot.depth.shape
        view = View(yaw, pitch, 0, (width, height), f"{name}/{number:02d}.webp")
        views.append(view)
        members[view.member] = _webp(Image.fromarray(shot.rgba), 86)
        members[view.companion("depth")] = _webp(Image.fromarray(shot.depth), 70)
        if tintable:
            members[view.companion("tint")] = _webp(Image.fromarray(shot.flags), 70)
    return tuple(views), members


def _look(model: Model, entry: Entry, views: Views, members: Members) -> Look:
    behind = min(views, key=lambda view: abs(view.yaw - 180.0))
    return Look(
        id=look_id(model),
        style="rendered",
        views=views,
        tintable=any(view.companion("tint") in members for view in views),
        natural=None if entry.group == "person" else colour_word([members[view.member] for view in (views[0], behind)]),
        licence=model.licence,
        author=model.author,
        source=SOURCE,
    )


def _webp(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=4, alpha_quality=100)
    return buffer.getvalue()


def _stamp(model: Model, entry: Entry) -> dict[str, object]:
    angles = [list(angle) for angle in angles_of(model, entry)]
    return {"version": VERSION, "angles": angles, "stand": entry.stand, "turn": entry.turn, "tint": entry.tint}


def _keep(place: Path, model: Model, entry: Entry, views: Views, members: Members) -> None:
    rows = [[view.yaw, view.pitch, view.frame, *view.size, view.member] for view in views]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("look.json", json.dumps({"made": _stamp(model, entry), "views": rows}))
        for name, content in members.items():
            archive.writestr(name, content)
    write_whole(place, buffer.getvalue())


def _read_kept(place: Path, model: Model, entry: Entry) -> tuple[Views, Members] | None:
    """A look as it was kept; None if there is none, or one made otherwise."""
    try:
        with zipfile.ZipFile(place) as archive:
            facts = json.loads(archive.read("look.json"))
            members = {name: archive.read(name) for name in archive.namelist() if name != "look.json"}
    except FileNotFoundError:
        return None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        logger.info("%s is rendered again: %s", place, error)
        return None
    if facts["made"] != _stamp(model, entry):
        return None
    return tuple(View(yaw, pitch, frame, (w, h), name) for yaw, pitch, frame, w, h, name in facts["views"]), members
