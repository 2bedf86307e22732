"""Clips in containers of video, through PyAV: upright RGB frames with their times, and what headers say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.data.pictures import upright_rgb
from sanakit.data.samples import ClipFacts

Frame = NDArray[np.uint8]
"""``(H, W, 3)`` RGB, upright."""
Timed = tuple[Frame, float, float]
"""A frame, the second at which it is shown first, and the one until which; a clip begins at 0."""
_HDR = frozenset({16, 18})  # transfer functions of PQ and HLG
_MISSING_SECONDS = 0.25  # that a clip may end before its header says: sound is often longer than pictures
_LARGEST = 8192  # pixels of a side
_DECODERS_OF_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own leave it out
_WITHOUT_LENGTH = ("mpeg", "mpegvideo")  # whose length FFmpeg guesses from a part
_READ = "MP4, MOV, WebM, MKV, AVI and MPEG"
# What a file may be: a playlist, whatever it is called, would have other files and addresses opened.
_CONTAINERS = {"format_whitelist": "mov,matroska,avi,mpeg,mpegts,mpegvideo", "protocol_whitelist": "none"}


def facts_in_container(file: BinaryIO) -> tuple[tuple[int, int], ClipFacts]:
    """``(width, height)`` upright, and the rest, from the header and the first frame.

    Raises:
        PictureError: it is no clip that can be read, or PyAV is not installed.
    """
    with opened_clip(file) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise PictureError("the clip holds no frame")
        height, width, _ = _upright(first, stream).shape
        rate, seconds = float(stream.average_rate or stream.guessed_rate or 0), _seconds(container, stream)
        if not seconds or container.format.name in _WITHOUT_LENGTH:
            rate, seconds = _counted(container, stream, rate)
        if not (math.isfinite(rate) and rate > 0):
            raise PictureError("the clip does not say how many frames a second it has")
    return (width, height), ClipFacts(num_frames=max(1, round(seconds * rate)), fps=round(rate, 3))


def frames_in_container(file: BinaryIO) -> Iterator[Timed]:
    """All of them; raises PictureError at the first that is damaged."""
    with opened_clip(file) as (container, stream):
        yield from _decoded(container, stream)


def read_container_to_the_end(file: BinaryIO) -> None:
    """Decode every frame.

    Raises:
        PictureError: one is damaged, or the clip ends before its header says, as a copy that was broken off does.
    """
    with opened_clip(file) as (container, stream):
        said, end = _seconds(container, stream), 0.0
        for _, _, until in _decoded(container, stream, as_pictures=False):
            end = until
    if end < said - _MISSING_SECONDS:
        raise PictureError(f"the clip ends after {end:.2f} s, and its header tells of {said:.2f} s; it was cut off")


@contextmanager
def opened_clip(file: BinaryIO) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and its stream of pictures, which open no other file; what it raises becomes PictureError."""
    try:
        import av
    except ImportError:
        raise PictureError(
            "it is a clip, and PyAV, which reads clips, is missing: pip install 'sanakit[video]'"
        ) from None
    if not file.read(1):
        raise PictureError("the file is empty")
    file.seek(0)
    try:
        with _container(file) as container:
            if not container.streams:
                raise PictureError("the clip was cut off or is damaged: nothing in it says what it holds")
            covers = av.stream.Disposition.attached_pic  # of sound
            stream = next((each for each in container.streams.video if not each.disposition & covers), None)
            if stream is None:
                raise PictureError("the file holds no moving pictures")
            stream.thread_type = "NONE"  # whoever reads many clips has threads of his own
            if max(stream.width or 0, stream.height or 0) > _LARGEST:
                raise PictureError(f"the clip has {stream.width}x{stream.height} px, and {_LARGEST} a side are read")
            yield container, stream
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        raise PictureError(f"the clip cannot be read ({_in_one_line(error)})") from error


def _container(file: BinaryIO) -> Any:
    import av

    try:
        return av.open(file, mode="r", metadata_errors="ignore", options=_CONTAINERS)
    except av.error.ArgumentError as error:
        raise PictureError(f"the clip is in a container that is not read; {_READ} are") from error


def _decoded(container: Any, stream: Any, *, as_pictures: bool = True) -> Iterator[Timed]:
    begin, step = None, 1 / float(stream.average_rate or stream.guessed_rate or 25)
    for number, frame in enumerate(_of_one_moment(_checked(_frames(container, stream)))):
        time = number * step if frame.time is None else float(frame.time)
        begin = time if begin is None else begin
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step
        pixels = _upright(frame, stream) if as_pictures else np.empty((0, 0, 3), np.uint8)
        yield pixels, time - begin, time - begin + lasts


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """As they are decoded, with what is transparent where the file says that something is."""
    decoder = _DECODERS_OF_ALPHA.get(stream.codec_context.name)
    if decoder is None or stream.metadata.get("alpha_mode") != "1":
        yield from container.decode(stream)
        return
    import av

    context: Any = av.CodecContext.create(decoder, "r")
    for packet in container.demux(stream):  # the last one is empty, and has the decoder give what it holds back
        yield from context.decode(packet)


def _checked(frames: Iterator[Any]) -> Iterator[Any]:
    for number, frame in enumerate(frames):
        if frame.is_corrupt:
            raise PictureError(f"the clip is damaged at frame {number}")
        yield frame


def _of_one_moment(frames: Iterator[Any]) -> Iterator[Any]:
    """Interlaced frames, every other line of which is of another moment, without that (BWDIF); others as they are."""
    graph = None
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        graph = graph or _deinterlacer(frame)
        graph.vpush(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph)


def _deinterlacer(frame: Any) -> Any:
    import av

    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
    )
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Any) -> Iterator[Any]:
    """What a graph has to give now."""
    try:
        while True:
            yield graph.vpull()
    except (BlockingIOError, EOFError):
        return


def _upright(frame: Any, stream: Any) -> Frame:
    """Turned as the file says, as phones need it, and with square pixels."""
    if frame.color_trc in _HDR:
        raise PictureError("the clip is HDR, whose brightness 8 bits do not hold; convert it to BT.709 first")
    pixels = _over_white(frame)
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    if abs(aspect - 1) > 1e-3:
        wide = max(1, round(pixels.shape[1] * aspect))
        pixels = np.asarray(Image.fromarray(pixels).resize((wide, pixels.shape[0]), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(_turned(pixels, frame.side_data.get("DISPLAYMATRIX")))


def _turned(pixels: Frame, matrix: Any) -> Frame:
    """By quarters and mirrored, as a display matrix says: where a step along a row and one along a column lead."""
    if matrix is None:
        return pixels
    row_x, row_y, _, column_x, column_y = map(int, np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(row_y) > abs(row_x):  # rows become columns
        pixels, row_x, column_y = pixels.transpose(1, 0, 2), column_x, row_y
    return pixels[:: -1 if column_y < 0 else 1, :: -1 if row_x < 0 else 1]


def _over_white(frame: Any) -> Frame:
    """Where it is transparent white is seen, as of pictures."""
    if not any(component.is_alpha for component in frame.format.components):
        pixels: Frame = frame.to_ndarray(format="rgb24")
        return pixels
    return np.asarray(upright_rgb(Image.fromarray(frame.to_ndarray(format="rgba"))))


def _seconds(container: Any, stream: Any) -> float:
    """As the header says; 0 where it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else 0.0


def _counted(container: Any, stream: Any, rate: float) -> tuple[float, float]:
    """Rate and seconds by the times of all frames, where the header does not say them, as when browsers record."""
    container.seek(0)
    times = sorted(float(each.pts * each.time_base) for each in container.demux(stream) if each.pts is not None)
    if len(times) > 1 and times[-1] > times[0]:
        rate = (len(times) - 1) / (times[-1] - times[0])
    return rate, len(times) / rate if rate else 0.0


def _in_one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
