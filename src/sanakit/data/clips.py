"""Clips of every container and codec that PyAV reads, as upright RGB frames at a rate of one's own; and what their
headers say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sanakit.common.errors import PictureError
from sanakit.common.free_memory import free_memory
from sanakit.data.samples import ClipFacts

READING_CLIPS = 2  # version of how a clip becomes frames: part of the keys of cached latents
Frame = NDArray[np.uint8]
"""``(H, W, 3)`` RGB, upright."""
_HDR = frozenset({16, 18})  # transfer functions of PQ and HLG
_MISSING_SECONDS = 0.25  # that a clip may end before its header says: sound is often longer than pictures
_LARGEST = 8192  # pixels of a side
_DECODERS_OF_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own leave it out
_READ = "MP4, MOV, WebM, MKV, AVI and MPEG"
_BYTES_PER_PIXEL = 6  # of frames that are read, and then put side by side
# What a file may be: a playlist, whatever it is called, would have other files and addresses opened.
_CONTAINERS = {"format_whitelist": "mov,matroska,avi,mpeg,mpegts,mpegvideo", "protocol_whitelist": "none"}


def clip_facts(file: BinaryIO) -> tuple[tuple[int, int], ClipFacts]:
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
        if not seconds:
            rate, seconds = _counted(container, stream, rate)
        if not (math.isfinite(rate) and rate > 0):
            raise PictureError("the clip does not say how many frames a second it has")
    return (width, height), ClipFacts(num_frames=max(1, round(seconds * rate)), fps=round(rate, 3))


def frames_at(file: BinaryIO, *, num_frames: int, fps: float) -> NDArray[np.uint8]:
    """The first ``num_frames`` moments ``1 / fps`` apart, as ``(T, H, W, 3)``: of each the frame that is shown then,
    whatever the rate of the clip is, or its rates are.

    Raises:
        PictureError: it cannot be read, is damaged there, or ends before.
    """
    shown: list[Frame] = []
    last, end = None, 0.0
    for frame, time, until in _timed(file):
        while len(shown) < num_frames and last is not None and len(shown) / fps < time - 1e-4:
            shown.append(last)
        if len(shown) == num_frames:
            break
        last, end = frame, until
    while last is not None and len(shown) < num_frames and len(shown) / fps < end + 0.5 / fps:
        shown.append(last)
    if len(shown) < num_frames:
        raise PictureError(f"the clip ends after {end:.2f} s, and {num_frames} frames at {fps:g} a second were wanted")
    return np.stack(shown)


def beginning(
    file: BinaryIO, *, fps: float, at_most: int, bytes_per_pixel: int = _BYTES_PER_PIXEL
) -> tuple[NDArray[np.uint8], float]:
    """The first frames ``(T, H, W, 3)``, up to so many, at that rate or at the clip's own where that is lower; and the
    rate.

    Args:
        bytes_per_pixel: of memory, for what becomes of the frames, too.

    Raises:
        PictureError: it cannot be read, or needs more memory than is free.
    """
    (width, height), facts = clip_facts(file)
    rate = min(fps, facts.fps)
    num = min(at_most, max(1, round(facts.seconds * rate)))
    check_memory(num, (width, height), bytes_per_pixel)
    file.seek(0)
    return frames_at(file, num_frames=num, fps=rate), rate


def check_memory(num_frames: int, size: tuple[int, int], bytes_per_pixel: int) -> None:
    """Raises PictureError where so many frames of ``(width, height)`` need more than is free."""
    width, height = size
    need, free = num_frames * width * height * bytes_per_pixel, free_memory()
    if free is not None and need > free:
        raise PictureError(
            f"{num_frames} frames of {width}x{height} px need {need / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
        )


def first_frame(file: BinaryIO) -> Image.Image:
    """As a picture.

    Raises:
        PictureError: it cannot be read.
    """
    for frame, _, _ in _timed(file):
        return Image.fromarray(frame)
    raise PictureError("the clip holds no frame")


def read_clip_to_the_end(file: BinaryIO) -> None:
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


def motion_score(frames: NDArray[np.uint8], fps: float) -> int:
    """How much moves in ``(T, H, W, 3)``: the mean difference of levels (0 to 255) between frames half a second apart,
    which are shrunk to 64 pixels a side before, so that noise and fine texture do not count; 0 of a picture.

    Upstream takes the mean length of the optical flow in pixels; this needs no network and has about its range.
    """
    step = max(1, round(fps / 2))
    if len(frames) <= step:
        step = len(frames) - 1
    if step < 1:
        return 0
    small = [np.asarray(Image.fromarray(frame).convert("L").resize((64, 64), Image.Resampling.BOX)) for frame in frames]
    levels = np.stack(small).astype(np.float32)
    return round(float(np.abs(levels[step:] - levels[:-step]).mean()))


def _timed(file: BinaryIO) -> Iterator[tuple[Frame, float, float]]:
    with opened_clip(file) as (container, stream):
        yield from _decoded(container, stream)


def _decoded(container: Any, stream: Any, *, as_pictures: bool = True) -> Iterator[tuple[Frame, float, float]]:
    """Frames with the second at which each is shown first, and the one until which; the clip begins at 0."""
    begin, step = None, 1 / float(stream.average_rate or stream.guessed_rate or 25)
    for number, frame in enumerate(_of_one_moment(_checked(_frames(container, stream)))):
        time = number * step if frame.time is None else float(frame.time)
        begin = time if begin is None else begin
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step
        pixels = _upright(frame, stream) if as_pictures else np.empty((0, 0, 3), np.uint8)
        yield pixels, time - begin, time - begin + lasts


def _container(file: BinaryIO) -> Any:
    import av

    try:
        return av.open(file, mode="r", metadata_errors="ignore", options=_CONTAINERS)
    except av.error.ArgumentError as error:
        raise PictureError(f"the clip is in a container that is not read; {_READ} are") from error


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


def _upright(frame: Any, stream: Any) -> Frame:
    """Turned as the file says, as phones need it, and with square pixels."""
    if frame.color_trc in _HDR:
        raise PictureError("the clip is HDR, whose brightness 8 bits do not hold; convert it to BT.709 first")
    pixels = _over_white(frame)
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    if abs(aspect - 1) > 1e-3:
        wide = max(1, round(pixels.shape[1] * aspect))
        pixels = np.asarray(Image.fromarray(pixels).resize((wide, pixels.shape[0]), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _over_white(frame: Any) -> Frame:
    """Where it is transparent white is seen, as of pictures."""
    if not any(component.is_alpha for component in frame.format.components):
        pixels: Frame = frame.to_ndarray(format="rgb24")
        return pixels
    seen = frame.to_ndarray(format="rgba").astype(np.uint16)
    alpha = seen[..., 3:]
    over: Frame = ((seen[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return over


def _seconds(container: Any, stream: Any) -> float:
    """As the header says; 0 where it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else 0.0


def _counted(container: Any, stream: Any, rate: float) -> tuple[float, float]:
    """Rate and seconds by the times of all frames, of a file that was written as it came, as browsers record."""
    container.seek(0)
    times = sorted(float(each.pts * each.time_base) for each in container.demux(stream) if each.pts is not None)
    if len(times) > 1 and times[-1] > times[0]:
        rate = (len(times) - 1) / (times[-1] - times[0])
    return rate, len(times) / rate if rate else 0.0


def _in_one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
