from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.data.clip_files import HEIGHT, WIDTH, lay_on_its_side, picture, write_clip

from sanakit.common.errors import PictureError
from sanakit.data.build import build_shards
from sanakit.data.clips import clip_facts, frames_at, motion_score, read_clip_to_the_end
from sanakit.data.inspection import inspect_data
from sanakit.data.open import open_data
from sanakit.data.samples import ClipFacts
from sanakit.data.validation import validate


@pytest.mark.parametrize("suffix", ["mp4", "webm", "mkv", "avi"])
def test_every_container_tells_its_size_length_and_rate_and_gives_its_frames(tmp_path: Path, suffix: str) -> None:
    content = io.BytesIO(write_clip(tmp_path / f"a.{suffix}").read_bytes())
    size, clip = clip_facts(content)
    assert (size, clip.num_frames, clip.fps) == ((WIDTH, HEIGHT), 24, 12)
    content.seek(0)
    frames = frames_at(content, num_frames=9, fps=6)
    assert frames.shape == (9, HEIGHT, WIDTH, 3)
    expected = np.stack([picture(2 * number) for number in range(9)]).astype(float)
    assert np.abs(frames - expected).mean() < 6  # codecs lose some


def test_moments_are_those_of_time_whatever_the_rates_are(tmp_path: Path) -> None:
    times = [50 * n if n < 12 else 600 + 200 * (n - 12) for n in range(24)]  # 20 a second, then 5
    path = write_clip(tmp_path / "a.mkv", times=times)
    with path.open("rb") as file:
        frames = frames_at(file, num_frames=20, fps=10)
    shown = [max(n for n, time in enumerate(times) if time <= 100 * moment + 1) for moment in range(20)]
    for moment in (0, 3, 6, 7, 9, 15, 19):
        assert np.abs(frames[moment] - picture(shown[moment]).astype(float)).mean() < 4


def test_a_clip_of_a_phone_stands_upright(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    lay_on_its_side(path)
    with path.open("rb") as file:
        size, _ = clip_facts(file)
        file.seek(0)
        frame = frames_at(file, num_frames=1, fps=8)[0]
    assert size == (HEIGHT, WIDTH)
    assert frame.shape == (WIDTH, HEIGHT, 3)
    top, bottom = frame[10, HEIGHT // 2, 0], frame[-10, HEIGHT // 2, 0]  # its left is above now
    assert int(top) > 150 > int(bottom)


def test_a_mirrored_clip_is_mirrored_and_not_turned(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", num_frames=2)
    lay_on_its_side(path, mirrored=True)
    frame = frames_at(io.BytesIO(path.read_bytes()), num_frames=1, fps=8)[0]
    assert np.abs(frame - picture(0)[:, ::-1].astype(float)).mean() < 6


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [(".webm", "libvpx-vp9", "yuva420p"), (".mov", "qtrle", "argb"), (".mov", "prores_ks", "yuva444p10le")],
)
def test_what_is_transparent_is_white_whatever_colour_it_has(
    suffix: str, codec: str, pix_fmt: str, tmp_path: Path
) -> None:
    cut_out = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    cut_out[16:48, 24:72] = (200, 40, 40, 255)
    path = write_clip(
        tmp_path / f"a{suffix}", num_frames=3, codec=codec, pix_fmt=pix_fmt, draw=lambda number: cut_out,
        **({"profile": "4444"} if "prores" in codec else {}),
    )  # fmt: skip
    frames = frames_at(io.BytesIO(path.read_bytes()), num_frames=2, fps=8)
    assert np.abs(frames[:, 4:8, 4:8].astype(int) - 255).max() <= 2
    assert np.abs(frames[:, 30:34, 40:50].astype(int) - (200, 40, 40)).max() <= 12


def test_lines_of_two_moments_become_frames_of_one(tmp_path: Path) -> None:
    def woven(number: int) -> np.ndarray:
        pixels = picture(2 * number, step=6)
        pixels[1::2] = picture(2 * number + 1, step=6)[1::2]
        return pixels

    path = write_clip(tmp_path / "a.mkv", num_frames=8, pix_fmt="yuv420p", draw=woven, flags="+ildct+ilme")
    frames = frames_at(io.BytesIO(path.read_bytes()), num_frames=5, fps=12).astype(float)
    combed = np.abs(woven(3)[9:15].astype(float) - woven(3)[8:14]).mean()
    assert np.abs(frames[3, 9:15] - frames[3, 8:14]).mean() < combed / 4
    assert np.abs(frames[3] - picture(6, step=6)).mean() < 6
    assert len(frames) == 5


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_is_a_clip_by_the_times_of_its_frames(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    first, *others = (Image.fromarray(picture(n)) for n in range(12))
    times = [50] * 6 + [200] * 6
    first.save(folder / f"a.{kind}", save_all=True, append_images=others, duration=times, lossless=True)
    first.save(folder / f"b.{kind}")
    (folder / "c.gif").write_bytes((folder / f"a.{kind}").read_bytes()[:700])
    source = open_data(folder, need_captions=False)
    clip, still = source[0], source[1]
    assert (clip.clip, still.clip) == (ClipFacts(num_frames=12, fps=8), None)
    frames = source.frames(0, num_frames=16, fps=10)
    shown = [max(n for n in range(12) if sum(times[:n]) <= 100 * moment + 1) for moment in range(16)]
    assert max(np.abs(frames[n] - picture(shown[n]).astype(float)).mean() for n in range(1, 15)) < 2
    assert source.image(0).size == source.image(1).size == (WIDTH, HEIGHT)
    assert [problem.key for problem in validate(source).problems] == ["c"]
    assert build_shards(folder, tmp_path / "shards", need_captions=False).num_samples == 2
    assert open_data(tmp_path / "shards", need_captions=False)[0].clip == clip.clip


@pytest.mark.parametrize("fps", [12, 1000])
def test_what_was_written_as_it_came_is_as_long_as_its_times_say(fps: int, tmp_path: Path) -> None:
    """As browsers record: no length in the header, and a rate that is none."""
    path = write_clip(
        tmp_path / "a.webm", fps=fps, times=[33 * n + n % 3 for n in range(24)], container_options={"live": "1"}
    )
    assert clip_facts(io.BytesIO(path.read_bytes()))[1] == ClipFacts(num_frames=24, fps=pytest.approx(30.3, abs=0.2))
    film = write_clip(tmp_path / "a.mpg", fps=25, codec="mpeg2video").read_bytes()
    assert clip_facts(io.BytesIO(film))[1] == ClipFacts(num_frames=24, fps=25)


def test_a_cover_of_sound_is_no_clip_and_other_containers_are_told(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(16, 16, "yuvj420p")))
        container.mux(cover.encode())
    with pytest.raises(PictureError, match="no moving pictures"):
        clip_facts(io.BytesIO((tmp_path / "sound.mp4").read_bytes()))
    flash = write_clip(tmp_path / "a.flv", codec="libx264").read_bytes()
    with pytest.raises(PictureError, match="a container that is not read; MP4"):
        clip_facts(io.BytesIO(flash))
    early = write_clip(tmp_path / "a.mp4").read_bytes()
    with pytest.raises(PictureError, match="cut off or is damaged"):
        clip_facts(io.BytesIO(early[: early.index(b"moov") + 40]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:900], "cannot be read|no frame"),
        (lambda content: b"", "the file is empty"),
        (lambda content: b"no clip at all" * 9, "cannot be read"),
        (lambda content: content[: len(content) * 2 // 3], "ends after|cannot be read|damaged"),
    ],
)
def test_what_is_broken_or_cut_off_is_named(tmp_path: Path, damage: object, said: str) -> None:
    content = write_clip(tmp_path / "a.avi", num_frames=60).read_bytes()
    with pytest.raises(PictureError, match=said):
        read_clip_to_the_end(io.BytesIO(damage(content)))  # type: ignore[operator]


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"]
)
def test_a_playlist_opens_nothing(tmp_path: Path, text: str) -> None:
    other = write_clip(tmp_path / "other.mp4")
    with pytest.raises(PictureError, match=r"is not read; MP4|cannot be read"):
        clip_facts(io.BytesIO(text.format(other).encode()))


def test_more_seconds_than_there_are_is_one_sentence(tmp_path: Path) -> None:
    with write_clip(tmp_path / "a.mp4").open("rb") as file, pytest.raises(PictureError, match=r"ends after 2\.00 s"):
        frames_at(file, num_frames=33, fps=8)


def test_more_motion_scores_more_and_none_scores_nothing() -> None:
    still, slow, quick = (np.stack([picture(n, step=step) for n in range(17)]) for step in (0, 1, 6))
    assert motion_score(still, 8) == 0
    assert 0 < motion_score(slow, 8) < motion_score(quick, 8)
    assert motion_score(quick[:1], 8) == 0


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_clip(folder / "a.mp4")
    write_clip(folder / "b.webm", size=(63, 49), num_frames=12)
    for name in "abd":
        (folder / f"{name}.txt").write_text(f"clip {name}")
    shutil.copy(folder / "a.mp4", folder / "d.mp4")
    with (folder / "d.mp4").open("r+b") as file:
        file.truncate(600)
    return folder


def test_a_folder_of_clips_goes_through_the_front_door_into_shards_and_back(clips: Path, tmp_path: Path) -> None:
    source = open_data(clips)
    assert [source[n].key for n in range(len(source))] == ["a", "b"]
    assert [(problem.key, problem.reason) for problem in source.problems] == [("d", "undecodable")]
    found = inspect_data(source)
    assert (found.holds, found.seconds and found.seconds.largest, found.fps and found.fps.middle) == ("clips", 2.0, 12)
    assert validate(source).num_good == 2
    assert source.image(1).size == (63, 49)
    assert source.frames(0, num_frames=5, fps=8).shape == (5, HEIGHT, WIDTH, 3)
    report = build_shards(clips, tmp_path / "shards")
    assert report.num_samples == 2
    with tarfile.open(tmp_path / "shards" / "00000.tar") as tar:
        assert tar.getnames() == ["a.mp4", "a.json", "b.webm", "b.json"]
    again = open_data(tmp_path / "shards")
    assert [again[n] for n in range(2)] == [source[n] for n in range(2)]
    assert again.read_bytes(0) == (clips / "a.mp4").read_bytes()
    assert open_data(tmp_path / "shards")[1].clip == source[1].clip  # remembered


def test_the_film_of_a_live_photo_has_no_part(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mov")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat")
    source = open_data(tmp_path)
    assert (len(source), source[0].clip, source.problems) == (1, None, ())
    assert "give the clip another name" in source.unused_files[0]
