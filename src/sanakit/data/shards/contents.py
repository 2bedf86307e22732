"""What is in one shard, sample by sample, remembered in the user's cache so that a large data set opens at once."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sanakit.common.errors import PictureError
from sanakit.common.paths import MEDIA_SUFFIXES, composed, is_visible
from sanakit.common.picture_limits import UNLESS_ALLOWED
from sanakit.common.user_cache import cached_facts, file_stamp, recall, remember
from sanakit.data.shards.tar_index import Member, index_tar
from sanakit.data.sources.blobs import RangeBlob, read_blob
from sanakit.data.sources.files import decode_text, lines_of, parse_json
from sanakit.data.sources.media import medium_facts
from sanakit.data.sources.records import PROMPT_SOURCE, SCORES, file_column, is_caption_column, size_of, unused_texts

_VERSION = 6  # of what is remembered; a higher one makes old files count for nothing
_EXTENSIONS = MEDIA_SUFFIXES | {".npy", ".npz", ".json", ".txt", ".caption"}


class ShardSample(NamedTuple):
    """The files of one key in a tar, and what their headers say; remembered in this order."""

    key: str
    files: dict[str, Member]  # by extension with its dot, lower case; the first of several
    size: tuple[int, int] | None  # of the picture, upright
    undecodable: str | None
    record: dict[str, Any]  # of key.json: captions, scores, width and height
    record_fault: str | None
    text: str | None  # of key.txt
    twice: Sequence[str]  # names of further pictures with this key
    unused: Sequence[str]  # names in key.json that hold other texts
    clip: tuple[int, float] | None  # frames, and frames a second, of a clip

    def picture(self) -> Member | None:
        return next((member for name, member in self.files.items() if name in MEDIA_SUFFIXES), None)


class ShardContents(NamedTuple):
    """One shard."""

    samples: Sequence[ShardSample]
    fault: str | None  # what is wrong with the tar, in one sentence
    others: Mapping[str, int]  # how many files of which extension are of no kind that is read


def shard_contents(path: Path) -> ShardContents:
    """From the user's cache if the tar is the file that it was then, else read anew and remembered.

    Raises:
        OSError: the tar cannot be read.
    """
    place, stamp = cached_facts("shards", path), file_stamp(path, f"version {_VERSION}")
    with suppress(KeyError, TypeError, ValueError):  # nothing, or something else
        known = recall(place)
        if stamp is not None and known["stamp"] == stamp:
            return _from_plain(known["contents"])
    contents = scan_shard(path)
    if any(UNLESS_ALLOWED in (sample.undecodable or "") for sample in contents.samples):
        return contents  # which is true for this limit only
    if stamp is not None and stamp == file_stamp(path, f"version {_VERSION}"):
        remember(place, {"stamp": stamp, "contents": _to_plain(contents)})
    return contents


def scan_shard(path: Path) -> ShardContents:
    """Read the headers of everything in the tar.

    Raises:
        OSError: it cannot be read.
    """
    members, fault = index_tar(path)
    by_key: dict[str, list[Member]] = defaultdict(list)
    others: Counter[str] = Counter()
    for member in members:
        stem, extension = _split(member.name)
        if not all(is_visible(part) or part == ".." for part in stem.split("/")):
            continue
        if extension in _EXTENSIONS:
            by_key[composed(stem)].append(member)
        else:
            others[extension] += 1
    return ShardContents([_sample(path, key, found) for key, found in by_key.items()], fault, others)


def _sample(path: Path, key: str, members: list[Member]) -> ShardSample:
    files: dict[str, Member] = {}
    picture: Member | None = None
    twice: list[str] = []
    for member in members:
        _, extension = _split(member.name)
        is_medium = extension in MEDIA_SUFFIXES
        if extension in files or (is_medium and picture is not None):
            twice.append(member.name)
        else:
            files[extension] = member
            picture = member if is_medium else picture
    size, undecodable, clip = _medium_facts(path, picture)
    record, record_fault, unused = _record(path, files.get(".json"))
    text, text_fault = _text(path, files.get(".txt") or files.get(".caption"))
    return ShardSample(key, files, size, undecodable, record, record_fault or text_fault, text, twice, unused, clip)


def _split(name: str) -> tuple[str, str]:
    """The key, and the extension with its dot in lower case."""
    key, extension = os.path.splitext(name)
    return key, extension.lower()


def _medium_facts(
    path: Path, member: Member | None
) -> tuple[tuple[int, int] | None, str | None, tuple[int, float] | None]:
    if member is None:
        return None, None, None
    try:
        size, clip = medium_facts(RangeBlob(path, *member))
    except PictureError as error:
        return None, str(error), None
    return size, None, None if clip is None else (clip.num_frames, clip.fps)


def _record(path: Path, member: Member | None) -> tuple[dict[str, Any], str | None, Sequence[str]]:
    """Those fields of the JSON that sanakit uses, why it cannot be read, and names of other texts in it."""
    if member is None:
        return {}, None, ()
    try:
        record = parse_json(decode_text(read_blob(RangeBlob(path, *member))))
    except (ValueError, PictureError) as error:
        return {}, f"{member.name}: {error}", ()
    if not isinstance(record, dict):
        return {}, f"{member.name}: it is no JSON object", ()
    kept = {name: value for name, value in record.items() if _is_used(name)}
    size = size_of(record)
    return kept | ({"width": size[0], "height": size[1]} if size else {}), None, sorted(unused_texts(record))


def _is_used(name: str) -> bool:
    words = name.lower()
    return is_caption_column(name) or words.endswith(("score", SCORES)) or name in (PROMPT_SOURCE, file_column([name]))


def _text(path: Path, member: Member | None) -> tuple[str | None, str | None]:
    if member is None:
        return None, None
    try:
        lines = [line.strip() for line in lines_of(decode_text(read_blob(RangeBlob(path, *member))))]
    except (ValueError, PictureError) as error:
        return None, f"{member.name}: {error}"
    return "\n".join(line for line in lines if line), None


def _to_plain(contents: ShardContents) -> dict[str, Any]:
    samples = [[key, list(files.values()), *facts] for key, files, *facts in contents.samples]
    return {"fault": contents.fault, "samples": samples, "others": contents.others}


def _from_plain(content: dict[str, Any]) -> ShardContents:
    samples = []
    for key, files, size, *facts in content["samples"]:
        members = {_split(name)[1]: Member(name, *place) for name, *place in files}
        samples.append(ShardSample(key, members, size and (size[0], size[1]), *facts))
    return ShardContents(samples, content["fault"], content["others"])
