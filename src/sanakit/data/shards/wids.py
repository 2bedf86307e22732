"""WebDataset shards, with SANA's wids index or without one: pictures, or cached features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sanakit.common.paths import as_there, is_medium, walk
from sanakit.data.samples import Caption, ClipFacts, Reason
from sanakit.data.shards.contents import ShardContents, ShardSample, shard_contents
from sanakit.data.sources.blobs import RangeBlob
from sanakit.data.sources.collect import Candidate, Findings
from sanakit.data.sources.files import Bounds, parse_json, read_text, visible_files
from sanakit.data.sources.folder import captions_in_text
from sanakit.data.sources.records import PROMPT_SOURCE, captions_of, size_of
from sanakit.data.sources.sidecars import Extra, add_entry, read_sidecar, sidecar_paths, with_extra

INDEX = "wids-meta.json"


@dataclass(slots=True)
class _Shard:
    """One tar of the data set."""

    path: Path
    name: str  # as in the index
    num_samples: int | None = None  # as the index says
    num_bytes: int | None = None
    sidecars: dict[str, Path] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What its name adds to keys that another shard has too; of a shard that lies elsewhere no way to there."""
        return "/".join(part for part in self.name.removesuffix(".tar").split("/") if part not in ("", ".."))


def read_wids(root: Path, bounds: Bounds, *, recursive: bool = False) -> Findings:
    """Every sample of every shard. The same key in two shards is two samples; the later one is called by its shard."""
    findings = Findings()
    shards = _indexed(root, findings) if (root / INDEX).is_file() else None
    if shards is None:
        below = (path for path in walk(root) if path.suffix.lower() == ".tar")
        tars = list(below) if recursive else visible_files(root, ".tar")
        shards = [_Shard(path, path.relative_to(root).as_posix()) for path in tars]
    faults = {shard.name: fault for shard in shards if (fault := bounds.fault(shard.path))}
    for name, fault in faults.items():
        findings.report(name, "outside", fault)
    shards = [shard for shard in shards if shard.name not in faults]
    _find_sidecars(shards, findings, bounds)
    findings.seen |= {path for shard in shards for path in (shard.path, *shard.sidecars.values())}
    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(_contents, shards))
    latents = _holds_latents([found for found in contents if isinstance(found, ShardContents)])
    seen: set[str] = set()
    for shard, found in zip(shards, contents, strict=True):
        if isinstance(found, ShardContents):
            _add_shard(shard, found, seen, findings, latents=latents)
        else:
            findings.report(shard.name, "bad_shard", f"it cannot be read: {found.strerror or found}")
    findings.unused = _unread(
        {s.name: c for s, c in zip(shards, contents, strict=True) if isinstance(c, ShardContents)}
    )
    return findings


def _unread(contents: dict[str, ShardContents]) -> tuple[str, ...]:
    """A sentence about each kind of files in shards that is never read."""
    counts = sum((Counter(found.others) for found in contents.values()), Counter[str]())
    first = {kind: name for name, found in reversed(contents.items()) for kind in found.others}
    return tuple(
        f"{counts[kind]} {kind or 'suffixless'} files inside shards, in {first[kind]} for one: "
        + ("shards in shards are not opened; unpack them" if kind == ".tar" else "no such file is read")
        for kind in sorted(counts)
    )


def _contents(shard: _Shard) -> ShardContents | OSError:
    try:
        return shard_contents(shard.path)
    except OSError as error:
        return error


def _indexed(root: Path, findings: Findings) -> list[_Shard] | None:
    """The shards that the index lists and that are there; None if the index cannot be read."""
    try:
        index = parse_json(read_text(root / INDEX))
        listed = [_listed(root, item) for item in index["shardlist"]]
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        findings.report(
            INDEX, "bad_shard", f"the index cannot be read ({reason}); the tars in the folder are used in its place"
        )
        return None
    shards = []
    for shard in listed:
        if "://" in shard.name or shard.name.startswith("pipe:"):
            findings.report(shard.name, "bad_shard", "the index says that it lies elsewhere; fetch it into the folder")
        elif not shard.path.is_file():
            findings.report(shard.name, "bad_shard", "the index lists it, and it is not there")
        else:
            shards.append(shard)
    known = {shard.path.resolve() for shard in listed}
    for path in walk(root):
        if (is_medium(path) or path.suffix.lower() == ".tar") and path.resolve() not in known:
            name, reason = path.relative_to(root).as_posix(), _reason_of(path)
            findings.seen.add(path)
            findings.report(name, reason, f"{INDEX} does not list it, so it is not used; add it there or move it away")
    return shards


def _reason_of(path: Path) -> Reason:
    return "bad_record" if is_medium(path) else "bad_shard"


def _listed(root: Path, item: Mapping[str, Any]) -> _Shard:
    url, number, size = item["url"], item.get("nsamples"), item.get("filesize")
    if not isinstance(url, str):
        raise ValueError(f"a shard's url is {url!r}")
    local = url.removeprefix("file://")
    num_samples, num_bytes = (value if isinstance(value, int) else None for value in (number, size))
    return _Shard(as_there(root / local), local, num_samples, num_bytes)


def _find_sidecars(shards: Sequence[_Shard], findings: Findings, bounds: Bounds) -> None:
    """Suffixes are whatever lies beside the tars; a suffix that only some shards have is told of."""
    folders = {shard.path.parent for shard in shards}
    files = {
        folder: [path for path in visible_files(folder, ".json") if not bounds.outside(path)] for folder in folders
    }
    stems = {shard.path.with_suffix("") for shard in shards}
    for shard in shards:
        stem = shard.path.with_suffix("")
        mine = sidecar_paths(stem, (path for path in files[shard.path.parent] if path.name != INDEX))
        shard.sidecars = {
            suffix: path for suffix, path in mine.items() if suffix == "" or path.with_suffix("") not in stems
        }
    counts = Counter(suffix for shard in shards for suffix in shard.sidecars)
    for shard in shards:
        for suffix in sorted(counts.keys() - shard.sidecars.keys()):
            name = f"{shard.name.removesuffix('.tar')}{suffix}.json"
            findings.report(
                name, "bad_shard", f"this sidecar is missing; {counts[suffix]} of {len(shards)} shards have theirs",
                used=True,
            )  # fmt: skip


def _holds_latents(contents: Sequence[ShardContents]) -> bool:
    """Latents only: a sample with a picture makes it a data set of pictures."""
    samples = [sample for found in contents for sample in found.samples]
    return any(".npy" in sample.files for sample in samples) and not any(sample.picture() for sample in samples)


def _add_shard(shard: _Shard, contents: ShardContents, seen: set[str], findings: Findings, *, latents: bool) -> None:
    num_samples = sum(sample.picture() is not None or ".npy" in sample.files for sample in contents.samples)
    if fault := _shard_fault(shard, contents, num_samples):
        is_whole = contents.fault is None and bool(contents.samples)
        findings.report(shard.name, "bad_shard", fault, used=is_whole)
    extras = _read_sidecars(shard, {sample.key for sample in contents.samples}, findings)
    repeated = []
    for sample in contents.samples:
        key = sample.key
        if key in seen:
            repeated.append(key)
            key = f"{shard.key}/{key}"
        seen.add(key)
        _add_sample(shard, sample, key, extras.get(sample.key, Extra()), findings, latents=latents)
    if repeated:
        called = f"{shard.key}/{repeated[0]}"
        detail = f"{len(repeated)} of its keys occur in earlier shards; {repeated[0]} is used as {called}, and so on"
        findings.report(shard.name, "duplicate_key", detail, used=True)


def _shard_fault(shard: _Shard, contents: ShardContents, num_samples: int) -> str:
    faults = [contents.fault] if contents.fault else []
    if shard.num_samples is not None and shard.num_samples != num_samples:
        faults.append(f"the index says that it holds {shard.num_samples} samples, and it holds {num_samples}")
    size = shard.path.stat().st_size
    if shard.num_bytes is not None and shard.num_bytes != size:
        faults.append(f"the index says that it has {shard.num_bytes} bytes, and it has {size}")
    if not faults and not contents.samples:
        faults.append("it holds no samples")
    return "; ".join(faults)


def _read_sidecars(shard: _Shard, keys: set[str], findings: Findings) -> dict[str, Extra]:
    extras: dict[str, Extra] = {}
    for suffix, path in shard.sidecars.items():
        try:
            content = read_sidecar(path)
        except ValueError as error:
            findings.report(
                path.name, "bad_shard", f"the sidecar cannot be read, and its captions or scores are missing: {error}"
            )
            continue
        unknown = [str(key) for key in content if key not in keys]
        if unknown:
            detail = f"{len(unknown)} of its {len(content)} keys are not in {shard.name}, {unknown[0]} for one"
            findings.report(path.name, "bad_shard", detail)
        for key in content.keys() & keys:
            try:
                add_entry(extras.setdefault(key, Extra()), content[key], suffix)
            except ValueError as error:
                findings.report(key, "bad_record", f"{path.name}: {error}")
    return extras


def _add_sample(
    shard: _Shard, sample: ShardSample, key: str, extra: Extra, findings: Findings, *, latents: bool
) -> None:
    member = sample.files.get(".npy") if latents else sample.picture()
    for name in sample.twice:
        detail = f"{shard.name} holds {name} under a key that it has already; the first is used"
        findings.report(key, "duplicate_key", detail)
    if member is None:
        kind = "latent" if latents else "picture"
        detail = f"{shard.name} holds {', '.join(sorted(m.name for m in sample.files.values()))} and no {kind}"
        reason: Reason = "bad_record" if ".npy" in sample.files else "missing_image"
        findings.report(key, reason, detail)
        return
    features = sample.files.get(".npz")
    candidate = Candidate(key, RangeBlob(shard.path, *member), has_latent=latents, unused_columns=set(sample.unused))
    candidate.size = size_of(sample.record) if latents else sample.size
    candidate.clip = (
        None if latents or sample.clip is None else ClipFacts(num_frames=sample.clip[0], fps=sample.clip[1])
    )
    candidate.undecodable = None if latents else sample.undecodable
    candidate.text_features = RangeBlob(shard.path, *features) if features else None
    _add_captions(candidate, sample, extra)
    findings.candidates.append(candidate)


def _add_captions(candidate: Candidate, sample: ShardSample, extra: Extra) -> None:
    if sample.record_fault:
        candidate.unreadable_captions.append(sample.record_fault)
    captions: list[Caption] = []
    try:
        captions = captions_of(sample.record)
    except ValueError as error:
        candidate.unreadable_captions.append(str(error))
    if not captions and sample.text is not None:
        captions = captions_in_text(sample.text)
    candidate.captions = with_extra(captions, extra, sample.record.get(PROMPT_SOURCE))
