"""A bank is a folder: ``bank.json`` with what is known, ``views.zip`` with the pictures, ``ATTRIBUTION.md``.

The pictures are WebP, stored as they are: RGBA with straight alpha, cropped to what is visible; beside a picture may
stand a gray one of the material that may take another colour, and one of its depth. Panoramas of places are
equirectangular. Nothing is read before it is asked for.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sanakit.common.errors import RequestError
from sanakit.worlds.banks.checks import MAX_SIDE
from sanakit.worlds.banks.things import Look, Person, Place, Thing, View

_KEPT_IMAGES = 1024  # decoded pictures, of at most 100 kB each
_MAX_BYTES = 1 << 26  # of one picture, as it is stored
_FORMATS = ("WEBP", "PNG")
_UNREADABLE = (
    KeyError, OSError, ValueError, SyntaxError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile,
    Image.DecompressionBombError,
)  # fmt: skip


class Bank:
    """The things, places and people of a folder, and their pictures."""

    def __init__(
        self, folder: Path, name: str, things: Iterable[Thing], places: Iterable[Place], people: Iterable[Person]
    ) -> None:
        self.folder, self.name = folder, name
        self.packages: Mapping[str, Mapping[str, str]] = {}  # name -> {"version", "sha256"}
        self.things: Mapping[str, Thing] = {thing.name: thing for thing in things}
        self.places: Mapping[str, Place] = {place.name: place for place in places}
        self.people: tuple[Person, ...] = tuple(people)
        self._pictures: _Pictures | _Joined = _Pictures(folder / "views.zip")
        self._chosen: tuple[str, ...] | None = None
        self._whole: Bank | None = None
        self._added = ""

    @cached_property
    def called(self) -> Mapping[str, frozenset[str]]:
        """The things that each word names, as name, plural or synonym; also those that a subset leaves out."""
        found = dict[str, frozenset[str]]()
        for name, thing in (self._whole or self).things.items():
            for word in (name, thing.plural, *(word for pair in thing.synonyms for word in pair)):
                found[word.lower()] = found.get(word.lower(), frozenset()) | {name}
        return found

    @cached_property
    def hash(self) -> str:
        """SHA-256 of both files, of the names that a subset was cut to, and of a thing that was added."""
        digest = hashlib.sha256()
        for name in ("bank.json", "views.zip"):
            with (self.folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        if self._chosen is not None:
            digest.update("\n".join(self._chosen).encode())
        digest.update(self._added.encode())
        return digest.hexdigest()

    def look(self, name: str, id: str) -> Look | None:
        """The look of the thing of this name, if there is one."""
        return self._looks_of.get(name, {}).get(id)

    def person(self, id: str) -> Person | None:
        """The person who is drawn by this look."""
        return self._people_by_look.get(id)

    @cached_property
    def _looks_of(self) -> dict[str, dict[str, Look]]:
        return {name: {look.id: look for look in thing.looks} for name, thing in self.things.items()}

    @cached_property
    def _people_by_look(self) -> dict[str, Person]:
        return {person.look.id: person for person in self.people}

    def image(self, view: View) -> Image.Image:
        """RGBA of ``view.size``, straight alpha; it must not be changed."""
        return self._pictures.read(view.member, "RGBA", view.size)

    def tint_mask(self, view: View) -> Image.Image | None:
        """Gray of ``view.size``: 255 where the material may take another colour; None if nothing of it may."""
        return self._companion(view.companion("tint"), view.size)

    def depth(self, view: View) -> Image.Image | None:
        """Gray of ``view.size``: 255 the nearest visible point, 1 the farthest, 0 outside; None if it is not known."""
        return self._companion(view.companion("depth"), view.size)

    def panorama(self, place: Place) -> Image.Image:
        """RGB, twice as wide as high: the left edge looks at yaw -180, the middle at 0; it must not be changed."""
        return self._pictures.read(place.member, "RGB")

    def subset(self, names: Iterable[str]) -> Bank:
        """The same bank with these things only, in the bank's order.

        Raises:
            RequestError: a name that the bank does not know.
        """
        wanted = set(names)
        if unknown := sorted(wanted - set(self.things)):
            raise RequestError(f"the bank {self.name!r} has no {', '.join(map(repr, unknown[:5]))}")
        chosen = [thing for name, thing in self.things.items() if name in wanted]
        bank = Bank(self.folder, self.name, chosen, self.places.values(), self.people)
        bank.packages = self.packages
        bank._pictures = self._pictures
        bank._chosen = tuple(sorted(wanted))
        bank._whole = self._whole or self
        bank._added = self._added
        return bank

    def joined_by(self, thing: Thing, pictures: Mapping[str, Image.Image]) -> Bank:
        """The same bank with one thing more.

        Args:
            pictures: RGBA of each of its views, by their members.

        Raises:
            RequestError: the bank has something that is called so.
        """
        if self.called.get(thing.name.lower(), frozenset()) & set(self.things):
            raise RequestError(f"{thing.name!r} is called so in the bank {self.name!r} already; give it another word")
        bank = Bank(self.folder, self.name, [*self.things.values(), thing], self.places.values(), self.people)
        bank.packages, bank._chosen = self.packages, self._chosen
        bank._pictures = _Joined(self._pictures, pictures)
        digest = hashlib.sha256(repr((self._added, thing)).encode())
        for picture in pictures.values():
            digest.update(picture.tobytes())
        bank._added = digest.hexdigest()
        return bank

    def __contains__(self, member: object) -> bool:
        """Whether there is a picture of this name."""
        return member in self._pictures

    def _companion(self, member: str, size: tuple[int, int]) -> Image.Image | None:
        return self._pictures.read(member, "L", size) if member in self._pictures else None


class _Pictures:
    """Decoded pictures of a zip, the last used kept; a forked process opens its own handle."""

    def __init__(self, path: Path) -> None:
        self._path, self._owner = path, 0
        self._open()

    def _open(self) -> None:
        if self._owner == os.getpid():
            return
        try:
            self._zip = zipfile.ZipFile(self._path)
        except (OSError, zipfile.BadZipFile) as error:
            raise RequestError(f"{self._path} cannot be read ({error}); build the bank again") from error
        self._names = frozenset(self._zip.namelist())
        self._kept: OrderedDict[str, Image.Image] = OrderedDict()
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def __contains__(self, member: object) -> bool:
        return member in self._names

    def read(self, member: str, mode: str, size: tuple[int, int] | None = None) -> Image.Image:
        """The picture in this mode, of the ``size`` that is stated if one is."""
        self._open()
        with self._lock:
            image = self._kept.pop(member, None) or self._decode(member, mode, size)
            self._kept[member] = image
            if len(self._kept) > _KEPT_IMAGES:
                self._kept.popitem(last=False)
            return image

    def _decode(self, member: str, mode: str, size: tuple[int, int] | None) -> Image.Image:
        """Sizes are compared before anything is unpacked: some bytes can stand for gigabytes."""
        try:
            if self._zip.getinfo(member).file_size > _MAX_BYTES:
                raise ValueError(f"it has more than {_MAX_BYTES >> 20} MB")
            with Image.open(io.BytesIO(self._zip.read(member)), formats=_FORMATS) as image:
                if max(image.size) > MAX_SIDE or (size is not None and image.size != size):
                    stated = f"at most {MAX_SIDE} x {MAX_SIDE}" if size is None else "{} x {}".format(*size)
                    raise ValueError("it has {} x {} pixels, not {}".format(*image.size, stated))
                return image.convert(mode)
        except UnidentifiedImageError as error:
            raise RequestError(f"{self._path}: {member} is no WebP picture; build the bank again") from error
        except _UNREADABLE as error:
            raise RequestError(f"{self._path} has no readable {member} ({error}); build the bank again") from error

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self._path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self._path, self._owner = state["path"], 0
        self._open()


class _Joined:
    """Pictures of a bank and some that are in memory."""

    def __init__(self, stored: _Pictures | _Joined, added: Mapping[str, Image.Image]) -> None:
        self._stored, self._added = stored, dict(added)

    def __contains__(self, member: object) -> bool:
        return member in self._added or member in self._stored

    def read(self, member: str, mode: str, size: tuple[int, int] | None = None) -> Image.Image:
        """As `_Pictures` does."""
        return self._added[member] if member in self._added else self._stored.read(member, mode, size)
