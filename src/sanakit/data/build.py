"""Shards in SANA's naming out of a data set of any layout.

Which samples a shard holds depends on the data set and ``shard_size`` alone, so the same data set gives the same bytes
and an interrupted run is continued; every sample that is not in the shards is in ``problems.jsonl`` with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from sanakit.common.config import json_values
from sanakit.common.errors import ConfigError, PictureError, RequestError
from sanakit.common.files import unwritten
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.ahead import map_ahead
from sanakit.data.open import open_data
from sanakit.data.pictures import as_png, decode_picture, stored_upright
from sanakit.data.samples import Problem
from sanakit.data.shards.tar_index import Member, index_tar
from sanakit.data.shards.writer import PackedSample, begin_folder, sidecar_suffixes, write, write_index, write_shard
from sanakit.data.sources.blobs import RangeBlob, read_blob
from sanakit.data.sources.data_source import DataSource

BEGUN = "build.json"
PROBLEMS = "problems.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What was written."""

    folder: Path
    num_samples: int
    num_shards: int
    problems: tuple[Problem, ...]
    unused_files: tuple[str, ...] = ()  # a sentence about each kind of files that have no part in it


def build_shards(
    path: Path,
    out: Path,
    *,
    shard_size: int = 1000,
    min_size: int = 1,
    need_captions: bool = True,
    also: Sequence[str | Path] = (),
    on_progress: OnProgress = no_progress,
) -> BuildReport:
    """Write (or continue) a folder of shards with every good sample of ``path``.

    Pictures are decoded to see that they are whole, and stored as they are; those that lie on their side by EXIF, or
    are neither PNG, JPEG nor WebP, become upright PNG, so that every reader of SANA's shards sees them right. Clips are
    decoded, too, and stored as they are.

    Raises:
        RequestError: ``path`` is no data set or has no good sample, or ``out`` lies in it.
        ConfigError: ``out`` was begun with other values or data, or holds something else.
        OutputError: a file could not be written; finished shards stay.
    """
    if shard_size < 1:
        raise ConfigError(f"shard_size={shard_size} makes no shards; it must be at least 1")
    source = open_data(path, min_size=min_size, need_captions=need_captions, also=also)
    if source.layout in ("wids", "features") and out.resolve().is_relative_to(path.resolve()):
        raise RequestError(f"{out} lies in {path}, whose shards are read; choose a folder outside of it")
    if not len(source):
        raise RequestError(_nothing_good(source))
    with unwritten(out):
        _begin(source, out, shard_size=shard_size, min_size=min_size)
        return _Build(source, out, shard_size, on_progress).run()


class _Build:
    """One run: shard by shard, with the problems it meets."""

    def __init__(self, source: DataSource, out: Path, shard_size: int, on_progress: OnProgress) -> None:
        self.source, self.out, self.shard_size, self.on_progress = source, out, shard_size, on_progress
        self.problems = list(source.problems)
        samples = (source[index] for index in range(len(source)))
        self.suffixes = set[str]().union(*(sidecar_suffixes(sample.captions) for sample in samples))

    def run(self) -> BuildReport:
        total, shards = len(self.source), []
        for number, start in enumerate(range(0, total, self.shard_size)):
            indices = range(start, min(start + self.shard_size, total))
            num_samples = self._shard(f"{number:05d}", indices)
            if num_samples:
                shards.append((f"{number:05d}.tar", num_samples))
            self.on_progress(indices.stop, total, "writing")
        problems = tuple(sorted(self.problems))
        write(self.out / PROBLEMS, "".join(json.dumps(asdict(problem)) + "\n" for problem in problems))
        write_index(self.out, "sanakit-data", shards)
        num_samples = sum(number for _, number in shards)
        counts = {"num_samples": num_samples, "num_shards": len(shards)}
        return BuildReport(folder=self.out, **counts, problems=problems, unused_files=self.source.unused_files)

    def _shard(self, name: str, indices: range) -> int:
        """Write a shard, or see which samples of a finished one are missing; the number of its samples."""
        path = self.out / f"{name}.tar"
        if not path.exists():
            return write_shard(self.out, name, self._packed(indices), suffixes=self.suffixes)
        members = {member.name: member for member in index_tar(path)[0]}
        missing = [index for index in indices if f"{self.source[index].key}.json" not in members]
        for index in set(indices) - set(missing):
            self._check_same(index, path, members)
        for _ in self._packed(missing):
            pass  # what is wrong with them is noted
        return len(indices) - len(missing)

    def _check_same(self, index: int, shard: Path, members: Mapping[str, Member]) -> None:
        """A picture that was put there after its shard was written may be another one, also of the same length."""
        facts, sample = self.source.blob(index).path.stat(), self.source[index]
        if max(facts.st_mtime, facts.st_ctime) <= shard.stat().st_mtime:
            return
        packed = pack(self.source, index)
        files = {} if isinstance(packed, Problem) else packed.files
        places = {suffix: members.get(f"{sample.key}{suffix}") for suffix in files}
        held = {suffix: read_blob(RangeBlob(shard, *place)) for suffix, place in places.items() if place is not None}
        if not files or held != files:
            raise ConfigError(f"{sample.key} has changed since {shard} was written with it; choose another folder")

    def _packed(self, indices: range | list[int]) -> Iterator[PackedSample]:
        for packed in map_ahead(partial(pack, self.source), indices):
            if isinstance(packed, Problem):
                self.problems.append(packed)
            else:
                yield packed


def pack(source: DataSource, index: int) -> PackedSample | Problem:
    """A sample as a shard holds it, read to its end; or what is wrong with it."""
    sample = source[index]
    try:
        files = _files_of(source, index)
    except PictureError as error:
        return Problem(key=sample.key, reason="undecodable", detail=str(error))
    return PackedSample(sample, files)


def _files_of(source: DataSource, index: int) -> dict[str, bytes]:
    if source.has_latents():
        return _latent_files(source, index)
    if source[index].clip is None:
        return picture_files(source.read_bytes(index))
    source.check(index)
    return {Path(source.blob(index).name).suffix.lower(): source.read_bytes(index)}  # as it is, with how it is turned


def picture_files(content: bytes) -> dict[str, bytes]:
    """Extension to bytes of a picture as a shard holds it.

    Raises:
        PictureError: it cannot be decoded to its end.
    """
    image, suffix = decode_picture(content), stored_upright(content)
    return {".png": as_png(image)} if suffix is None else {f".{suffix}": content}


def _latent_files(source: DataSource, index: int) -> dict[str, bytes]:
    source.latent(index)
    source.text_features(index)
    features = source.text_features_bytes(index)
    return {".npy": source.read_bytes(index)} | ({} if features is None else {".npz": features})


def _begin(source: DataSource, out: Path, *, shard_size: int, min_size: int) -> None:
    recipe = {"shard_size": shard_size, "min_size": min_size, "content": _content_hash(source)}
    try:
        begun = json_values((out / BEGUN).read_bytes())
    except (OSError, ValueError):
        begun = None  # not there, or begin_folder says what is wrong
    if isinstance(begun, dict) and begun.get("content") not in (None, recipe["content"]):
        same = begun | {"content": recipe["content"]} == recipe
        what = "other data than" if same else "other data or values than those of"
        raise ConfigError(f"{out} was begun with {what} {source.path} now; choose another folder")
    begin_folder(out, recipe, BEGUN)


def _content_hash(source: DataSource) -> str:
    """SHA-256 of keys, sizes, captions and lengths of files; reading all pictures for it would take too long."""
    digest = sha256()
    for index in range(len(source)):
        entry = (source[index], source.blob(index).num_bytes)
        digest.update(repr(entry).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _nothing_good(source: DataSource) -> str:
    if not source.problems:
        return f"{source.path} holds no samples"
    first = source.problems[0]
    return (
        f"no sample in {source.path} can be used ({len(source.problems)} problems; the first: {first.key}, "
        f"{first.reason}, {first.detail}); sanakit data validate lists them all"
    )
