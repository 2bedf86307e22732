"""Writing data set folders in SANA's naming: whole files or none, and the same bytes for the same samples.

00000.tar ...              key.png (or .jpg, .webp, .npy with .npz), key.json {"prompt", "width", "height", ...}
00000_VILA.json ...        {key: {"VILA": text}}, the captions of further sources
00000_VILA_clip_score.json {key: {"VILA": score}}
wids-meta.json             the index, written last: a folder that has it is complete
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sanakit.common import files
from sanakit.common.config import json_values
from sanakit.common.errors import ConfigError
from sanakit.common.files import NotNeededError, unwritten, write_whole, written_aside
from sanakit.data.samples import MAIN_SOURCE, Caption, Sample
from sanakit.data.shards.wids import INDEX
from sanakit.data.sources.files import leads_out
from sanakit.data.sources.records import PROMPT_SOURCE
from sanakit.data.sources.sidecars import SCORE_SUFFIX, sidecar_suffix

_Sidecars = dict[str, dict[str, dict[str, Any]]]  # by suffix, by key, by source


@dataclass(frozen=True, slots=True)
class PackedSample:
    """What a shard holds of a sample."""

    sample: Sample
    files: Mapping[str, bytes]  # by extension with its dot, the picture or latent first


def begin_folder(out: Path, recipe: Mapping[str, Any], name: str) -> None:
    """Make a folder with its recipe in it, or see that it was begun with the same one.

    Raises:
        ConfigError: it was begun with other values, or holds something else.
        OutputError: it cannot be written.
    """
    with unwritten(out):
        out.mkdir(parents=True, exist_ok=True)
        is_new = all(item.name.endswith(".part") for item in out.iterdir())
    path = out / name
    if not path.exists():
        if not is_new:
            raise ConfigError(f"{out} holds other files and no {name}; choose an empty or a new folder")
        write_json(path, recipe)
        return
    try:
        begun = dict(json_values(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no JSON object ({error}); choose another folder") from error
    different = [f"{name}={begun.get(name)}" for name, value in recipe.items() if begun.get(name) != value]
    if different:
        raise ConfigError(f"{out} was begun with {', '.join(different)}; use the same values or another folder")


def write_shard(out: Path, name: str, samples: Iterable[PackedSample], *, suffixes: Iterable[str] = ()) -> int:
    """Write ``name``.tar with its sidecars and give the number of samples; of none, no file is left.

    The tar is renamed into place after its sidecars, so a shard that is there is complete.

    Args:
        suffixes: sidecars that are written even if no sample of this shard has something for them, since one that is
            missing beside others counts as lost; ``sidecar_suffixes`` of the whole data set.

    Raises:
        OutputError: a file cannot be written.
    """
    sidecars: _Sidecars = {suffix: defaultdict(dict) for suffix in sorted(suffixes)}
    count = 0
    with written_aside(out / f"{name}.tar", sync=True, locked=True) as building:
        with tarfile.open(building, mode="w") as archive:
            for packed in samples:
                count += 1
                _add_sample(archive, packed, sidecars)
        if count == 0:
            raise NotNeededError
        for suffix, content in sidecars.items():
            write_json(out / f"{name}{suffix}.json", content)
    return count


def write_index(out: Path, data_name: str, shards: Sequence[tuple[str, int]]) -> None:
    """The wids index over (file name, number of samples)."""
    shard_list = [{"url": url, "nsamples": num, "filesize": (out / url).stat().st_size} for url, num in shards]
    index = {"name": data_name, "__kind__": "SANA-WebDataset", "wids_version": 1, "shardlist": shard_list}
    write_json(out / INDEX, index)


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Raises ConfigError for a name that would be unpacked elsewhere than in the folder of the shard."""
    if leads_out(name):
        raise ConfigError(
            f"{name} is no name of a file in a shard: unpacked it would lie elsewhere; give it another key"
        )
    member = tarfile.TarInfo(name)  # its time stays 0, so the same data set has the same bytes
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


write = partial(write_whole, sync=True, locked=True)
write_json = partial(files.write_json, indent=1, ensure_ascii=True, sync=True, locked=True)


def sidecar_suffixes(captions: Sequence[Caption]) -> set[str]:
    """The sidecars that these captions of one sample go to."""
    return {suffix for suffix, _, _ in _sidecar_values(captions)}


def _sidecar_values(captions: Sequence[Caption]) -> Iterator[tuple[str, str, Any]]:
    """(suffix, source, text or score). The first caption is in the sample's own JSON, and its score is ``prompt``'s."""
    for index, caption in enumerate(captions):
        source = caption.source if index else MAIN_SOURCE
        if index:
            yield sidecar_suffix(source), source, caption.text
        if caption.score is not None:
            yield sidecar_suffix(source) + SCORE_SUFFIX, source, caption.score


def _add_sample(archive: tarfile.TarFile, packed: PackedSample, sidecars: _Sidecars) -> None:
    """``prompt`` of the JSON is the main caption; ``prompt_source`` says what it is called, if not that."""
    sample = packed.sample
    main, extension = next(iter(sample.captions), None), next(iter(packed.files))
    facts: dict[str, Any] = {} if main is None else {MAIN_SOURCE: main.text}
    facts |= {"width": sample.width, "height": sample.height, "file_name": f"{sample.key}{extension}"}
    if sample.clip is not None:
        facts |= {"num_frames": sample.clip.num_frames, "fps": sample.clip.fps}
    if main is not None and main.source != MAIN_SOURCE:
        facts[PROMPT_SOURCE] = main.source
    for suffix, content in packed.files.items():
        add_member(archive, f"{sample.key}{suffix}", content)
    add_member(archive, f"{sample.key}.json", json.dumps(facts).encode())
    for suffix, source, value in _sidecar_values(sample.captions):
        sidecars.setdefault(suffix, defaultdict(dict))[sample.key][source] = value
