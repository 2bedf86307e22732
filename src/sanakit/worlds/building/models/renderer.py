"""Draws meshes with OpenGL: soft sky light, one lamp with shadows, glass; in software where there is no GPU."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import RequestError, optional
from sanakit.worlds.building.models.camera import Camera, Matrix, light_matrix, look_at
from sanakit.worlds.building.models.obj import Floats, Material, Mesh
from sanakit.worlds.building.models.shaders import FRAGMENT, SHADOW_FRAGMENT, SHADOW_VERTEX, VERTEX

Pixels = NDArray[np.uint8]

_SAMPLES = 2  # a pixel's side in samples
_SHADOW_SIZE = 384
_TEXTURE_SIZE = 512
_OFFSETS = tuple((y, x) for y in range(_SAMPLES) for x in range(_SAMPLES))
_LAMP = np.array([-0.45, 0.8, 0.55])  # right, up and back of the camera


@dataclass(frozen=True, slots=True)
class Shot:
    """A view, cropped to the model.

    ``rgba`` ``(h, w, 4)`` with straight alpha; ``flags`` ``(h, w)``, what part of a pixel is of a flagged material,
    0 to 255; ``depth`` ``(h, w)``, 255 the nearest point, 1 the farthest, 0 none.
    """

    rgba: Pixels
    flags: Pixels
    depth: Pixels


@dataclass(slots=True)
class _Part:
    material: Material
    index: int
    vertices: Any
    texture: Any
    count: int
    visible: float = 0.0

    @property
    def clear(self) -> bool:
        return self.material.alpha < 0.95


class StagedMesh:
    """A mesh on the graphics card, to be drawn from any side. Give it back with ``release``."""

    def __init__(self, renderer: Renderer, mesh: Mesh, textures: Mapping[str, bytes]) -> None:
        self._renderer, self._gl = renderer, renderer.gl
        self.points = mesh.points.reshape(-1, 3)
        self.materials = mesh.materials
        self._owned: list[Any] = []
        self._textures = {name: loaded for name, content in textures.items() if (loaded := self._upload(content))}
        parts = [self._part(mesh, index) for index in np.unique(mesh.material)]
        self._parts = sorted(parts, key=lambda part: -part.material.alpha)

    def release(self) -> None:
        """Free the card's memory."""
        for one in reversed(self._owned):
            one.release()

    def shoot(self, yaw: float, pitch: float, size: int, flagged: frozenset[int] = frozenset()) -> Shot:
        """One view, its longer side ``size`` pixels or just below; ``flagged`` are indices of materials."""
        camera = look_at(self.points, yaw, pitch)
        scale = size / max(camera.aspect, 1.0)
        width, height = max(1, round(scale * camera.aspect)), max(1, round(scale))
        colours, extra = self._draw(camera, (width * _SAMPLES, height * _SAMPLES), dict.fromkeys(flagged, 1.0))
        return _reduce(colours, extra)

    def shares(self, yaw: float, pitch: float, size: int = 96) -> dict[int, float]:
        """What part of the visible surface each material has."""
        camera = look_at(self.points, yaw, pitch)
        scale = size / max(camera.aspect, 1.0)
        size_of = (max(1, round(scale * camera.aspect)), max(1, round(scale)))
        numbers = {part.index: (part.index + 1) / 255 for part in self._parts if part.index < 255}
        _, extra = self._draw(camera, size_of, numbers)
        found, times = np.unique(extra[..., 0], return_counts=True)
        counts = {int(n) - 1: int(t) for n, t in zip(found, times, strict=True) if n}
        return {index: count / max(1, sum(counts.values())) for index, count in counts.items()}

    def _draw(self, camera: Camera, size: tuple[int, int], flags: Mapping[int, float]) -> tuple[Pixels, Pixels]:
        lamp = camera.axes.T @ (_LAMP / np.linalg.norm(_LAMP))
        light = light_matrix(self.points, lamp)
        self._renderer.shadow_pass([part for part in self._parts if not part.clear], light)
        return self._renderer.colour_pass(self._parts, camera, (light, lamp), size, flags)

    def _part(self, mesh: Mesh, index: int) -> _Part:
        mine = mesh.material == index
        rows = np.concatenate([mesh.points[mine], mesh.normals[mine], mesh.uv[mine]], axis=-1)  # (T, 3, 8)
        buffer = self._gl.buffer(rows.astype(np.float32).tobytes())
        vertices = self._renderer.vertices(buffer)
        self._owned += [buffer, *vertices]
        material = mesh.materials[index]
        texture = self._textures.get(material.texture or "")
        return _Part(material, int(index), vertices, texture, rows.shape[0] * 3)

    def _upload(self, content: bytes) -> Any:
        try:
            with Image.open(io.BytesIO(content)) as opened:
                opened.draft("RGB", (_TEXTURE_SIZE, _TEXTURE_SIZE))
                image = opened.convert("RGBA")
        except OSError:  # not a picture: the material keeps its plain colour
            return None
        image.thumbnail((_TEXTURE_SIZE, _TEXTURE_SIZE))
        flipped = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        texture = self._gl.texture(flipped.size, 4, flipped.tobytes())
        texture.build_mipmaps()
        self._owned.append(texture)
        return texture


class Renderer:
    """An OpenGL context without a window.

    Raises:
        MissingExtraError: moderngl is not installed.
        RequestError: there is no OpenGL on the machine.
    """

    def __init__(self, max_size: int = 256) -> None:
        self.gl = _context()
        self._colour = self.gl.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        self._shadow = self.gl.program(vertex_shader=SHADOW_VERTEX, fragment_shader=SHADOW_FRAGMENT)
        side = (max_size * _SAMPLES, max_size * _SAMPLES)
        self._extra = self.gl.texture(side, 4)
        self._frame = self.gl.framebuffer([self.gl.texture(side, 4), self._extra], self.gl.depth_renderbuffer(side))
        self._shadow_map = self.gl.depth_texture((_SHADOW_SIZE, _SHADOW_SIZE))
        self._shadow_map.repeat_x = self._shadow_map.repeat_y = False
        self._shadow_frame = self.gl.framebuffer(depth_attachment=self._shadow_map)
        self._blank = self.gl.texture((1, 1), 4, b"\xff\xff\xff\xff")

    def stage(self, mesh: Mesh, textures: Mapping[str, bytes]) -> StagedMesh:
        """Put a mesh on the card."""
        return StagedMesh(self, mesh, textures)

    def vertices(self, buffer: Any) -> tuple[Any, Any]:
        """The same triangles for both passes."""
        return (
            self.gl.vertex_array(self._colour, [(buffer, "3f 3f 2f", "position", "normal", "uv")]),
            self.gl.vertex_array(self._shadow, [(buffer, "3f 12x 2f", "position", "uv")]),
        )

    def shadow_pass(self, parts: list[_Part], light: Matrix) -> None:
        """Depths as the lamp sees them."""
        self._shadow_frame.use()
        self._shadow_frame.clear(depth=1.0)
        self.gl.enable_only(self.gl.DEPTH_TEST)
        self._shadow["light"].write(_columns(light))
        for part in parts:
            (part.texture or self._blank).use(0)
            part.vertices[1].render(vertices=part.count)

    def colour_pass(
        self,
        parts: list[_Part],
        camera: Camera,
        lamp: tuple[Matrix, Matrix],
        size: tuple[int, int],
        flags: Mapping[int, float],
    ) -> tuple[Pixels, Pixels]:
        """Colours ``(h, w, 4)`` with premultiplied alpha, and flags, depth and 0 beside them."""
        self._frame.use()
        self._frame.viewport = (0, 0, *size)
        self._frame.clear()
        self.gl.enable_only(self.gl.DEPTH_TEST | self.gl.BLEND)
        self.gl.blend_func = self.gl.ONE, self.gl.ONE_MINUS_SRC_ALPHA
        self._shadow_map.use(1)
        set_to = self._colour
        set_to["matrix"].write(_columns(camera.matrix))
        set_to["light"].write(_columns(lamp[0]))
        set_to["lamp"].value = tuple(lamp[1])
        set_to["eye"].value = tuple(camera.eye)
        set_to["back"].value = tuple(camera.axes[2])
        set_to["near"].value, set_to["far"].value = camera.near, camera.far
        set_to["shadow_map"].value, set_to["picture"].value = 1, 0
        for part in parts:
            self._frame.depth_mask = not part.clear
            self._dress(part, flags.get(part.index, 0.0))
            part.vertices[0].render(vertices=part.count)
        self._frame.depth_mask = True
        return self._read(0, size), self._read(1, size)

    def _dress(self, part: _Part, flag: float) -> None:
        material, set_to = part.material, self._colour
        colour = np.array(material.colour)
        if part.texture is not None:  # the picture has the colour; what is left is a cast
            colour = np.ones(3) if colour.max() < 0.05 else colour / colour.max()
        set_to["colour"].value = tuple(colour)
        set_to["alpha"].value = 1.0 if not part.clear else max(material.alpha, 0.2)
        set_to["gloss"].value, set_to["shine"].value = material.gloss, min(material.shine, 100.0)
        set_to["flag"].value = flag
        (part.texture or self._blank).use(0)

    def _read(self, attachment: int, size: tuple[int, int]) -> Pixels:
        content = self._frame.read(viewport=(0, 0, *size), components=4, attachment=attachment, alignment=1)
        return np.frombuffer(content, np.uint8).reshape(size[1], size[0], 4)[::-1]


def _context() -> Any:
    moderngl = optional("moderngl", "rendering models needs moderngl; install it with sanakit[worlds]")
    reasons = []
    for settings in ({"backend": "egl"}, {}):
        how: dict[str, Any] = {"standalone": True, "require": 330, **settings}
        try:
            return moderngl.create_context(**how)
        except Exception as error:  # whatever the platform's loader raises
            reasons.append(str(error))
    raise RequestError(
        f"rendering models needs OpenGL 3.3, also in software (on Debian: apt install libegl1), but there is none here "
        f"({reasons[0]})"
    )


def _columns(matrix: Matrix) -> bytes:
    return matrix.T.astype("f4").tobytes()


def _mean(samples: Pixels) -> Floats:
    parts = np.stack([samples[y::_SAMPLES, x::_SAMPLES] for y, x in _OFFSETS])
    return parts.mean(0, dtype=np.float32)


def _reduce(colours: Pixels, extra: Pixels) -> Shot:
    """Samples to pixels, and the crop to what is visible."""
    height, width = colours.shape[0] // _SAMPLES, colours.shape[1] // _SAMPLES
    mean = _mean(colours[: height * _SAMPLES, : width * _SAMPLES])  # (h, w, 4), premultiplied
    alpha = mean[..., 3:]
    straight = np.where(alpha > 0, mean[..., :3] * 255.0 / np.maximum(alpha, 1e-3), 0.0)
    rgba = np.clip(np.concatenate([straight, alpha], -1) + 0.5, 0, 255).astype(np.uint8)
    flags = _mean(extra[..., :1])[..., 0] * 255.0 / np.maximum(alpha[..., 0], 1.0)
    depth = np.maximum.reduce([extra[y::_SAMPLES, x::_SAMPLES, 1] for y, x in _OFFSETS])
    seen = alpha[..., 0] > 16
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        rows, columns = np.array([0, height - 1]), np.array([0, width - 1])
    cut = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return Shot(rgba[cut], np.clip(flags[cut] + 0.5, 0, 255).astype(np.uint8), depth[cut])
