"""Pictures to learn reading from: composed scenes with their truth, some of whose things are spoiled or unsharp."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image, ImageFilter

from sanakit.common.pixels import Picture, from_signed, to_signed
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.drawing.spoiler import Spoiler
from sanakit.worlds.scenes.description import Box, Scene, overlap
from sanakit.worlds.telling.wrong_captions import shown_colour

SIZE = 128
_ALL_BLURRED_SHARE = 0.2  # of the share of spoiled things: whole pictures out of focus
_AS_IT_IS = 0.4  # share of pictures that are not softened
_MOST_NOISE = 0.25  # of a latent's standard deviation

Soften = Callable[[Picture, Generator], Picture]
"""Makes a picture as it may come out of a decoder."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One object as it is seen: ``name`` None is spoiled; ``colour`` None is of no colour in particular."""

    name: str | None
    colour: str | None
    box: Box


@dataclass(frozen=True, slots=True)
class Example:
    """A picture ``(128, 128, 3)`` and what it shows; ``empty`` are boxes in which there is only ground."""

    picture: Picture
    scene: Scene
    shown: tuple[Shown, ...]
    empty: tuple[Box, ...]


def draw_example(scene: Scene, bank: Bank, rng: Generator, *, spoiled_share: float, soften: Soften) -> Example:
    """The scene painted, each thing spoiled with that probability, and the picture softened."""
    spoiler = Spoiler(scene, bank, rng, share=spoiled_share, size=SIZE)
    picture = compose(scene, bank, SIZE, alter=spoiler)
    shown = [
        Shown(None, None, spoiler.boxes[number])
        if number in spoiler.boxes
        else Shown(thing.name, shown_colour(thing, bank), thing.box)
        for number, thing in enumerate(scene.objects)
    ]
    if rng.random() < _ALL_BLURRED_SHARE * spoiled_share:
        picture = blurred(picture, rng.uniform(3.0, 8.0))
        shown = [Shown(None, None, one.box) for one in shown]
    else:
        picture = soften(picture, rng)
    return Example(picture, scene, tuple(shown), _empty_boxes(shown, rng))


def softened(picture: Picture, rng: Generator) -> Picture:
    """As a decoder may give it: in two of five cases as it is, else a little unsharp, noisy, packed or shifted."""
    if rng.random() < _AS_IT_IS:
        return picture
    image = Image.fromarray(picture)
    draw = rng.random()
    if draw < 0.35:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    elif draw < 0.6:
        small = int(rng.integers(72, 116))
        image = image.resize((small, small), Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)
    elif draw < 0.85:
        packed = io.BytesIO()
        image.save(packed, "JPEG", quality=int(rng.integers(25, 75)))
        image = Image.open(packed)
    values = np.asarray(image, dtype=np.float64)
    values = (values - 128) * rng.uniform(0.94, 1.04) + 128 + rng.normal(0, 2.5, 3)
    if rng.random() < 0.4:
        values = values + rng.normal(0, rng.uniform(1, 7), values.shape)
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Pictures as an autoencoder gives them back, their latents a little disturbed; the others `softened`.

    Attributes:
        share: of the pictures that go through the autoencoder.
    """

    autoencoder: DCAutoencoder
    share: float

    @torch.inference_mode()
    def __call__(self, picture: Picture, rng: Generator) -> Picture:
        if rng.random() >= self.share:
            return softened(picture, rng)
        device = next(self.autoencoder.parameters()).device
        latent = self.autoencoder.encode(to_signed([picture]).to(device))
        noise = torch.from_numpy(rng.standard_normal(latent.shape, dtype=np.float32)).to(device)
        return from_signed(self.autoencoder.decode(latent + rng.uniform(0, _MOST_NOISE) * latent.std() * noise))[0]


def blurred(picture: Picture, radius: float) -> Picture:
    """The whole picture out of focus, ``radius`` pixels of 128 (standard deviation)."""
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius * len(picture) / SIZE)))


def jittered(box: Box, rng: Generator) -> Box:
    """As a finder may give it, a little moved and scaled."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    x, y = (left + right) / 2 + rng.normal(0, 0.05) * width, (top + bottom) / 2 + rng.normal(0, 0.05) * height
    width, height = width * np.exp(rng.normal(0, 0.13)), height * np.exp(rng.normal(0, 0.13))
    return float(x - width / 2), float(y - height / 2), float(x + width / 2), float(y + height / 2)


def _empty_boxes(shown: list[Shown], rng: Generator) -> tuple[Box, ...]:
    """None or one, which no thing reaches far into."""
    width, height = rng.uniform(0.15, 0.5, 2)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    box = (float(left), float(top), float(left + width), float(top + height))
    return (box,) if all(overlap(box, one.box) < 0.1 * width * height for one in shown) else ()
