"""From what a layout's reader has found to an opened data set: every sample is checked, and none goes silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sanakit.common.errors import PictureError
from sanakit.common.paths import UNREADABLE_SUFFIXES
from sanakit.common.picture_limits import UNLESS_ALLOWED
from sanakit.data.samples import MAIN_SOURCE, Caption, ClipFacts, Layout, Problem, Reason, Sample
from sanakit.data.sources.blobs import Blob
from sanakit.data.sources.data_source import DataSource, Entry, read_npy_header
from sanakit.data.sources.files import Bounds, leads_out
from sanakit.data.sources.media import Facts, medium_facts

SANA_COMPRESSION = 32  # pixels a side of one latent cell; used where nothing else tells the size of the picture


@dataclass(slots=True)
class Candidate:
    """A sample as a reader found it, not yet checked."""

    key: str
    blob: Blob  # the picture, or the .npy of a latent
    captions: list[Caption] = field(default_factory=list)
    unreadable_captions: list[str] = field(default_factory=list)  # a sentence about each
    size: tuple[int, int] | None = None  # (width, height) upright; None: read the header
    clip: ClipFacts | None = None  # of a clip whose size is known
    undecodable: str | None = None  # why the header could not be read, if that is known already
    text_features: Blob | None = None
    has_latent: bool = False
    unused_columns: set[str] = field(default_factory=set)  # that hold texts beside the captions


@dataclass(slots=True)
class Findings:
    """All that a reader found."""

    candidates: list[Candidate] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)  # files that were read or told of
    unused: tuple[str, ...] = ()  # a sentence about each kind of the others
    read: tuple[str, ...] = ()  # names of tables and texts

    def report(self, key: str, reason: Reason, detail: str, *, used: bool = False) -> None:
        """Note a problem; its detail becomes one line."""
        self.problems.append(Problem(key=key, reason=reason, detail=" ".join(detail.split()), used=used))

    def add(self, others: Findings) -> None:
        """What another reader found in the same folder."""
        self.candidates += others.candidates
        self.problems += others.problems
        self.seen |= others.seen
        self.unused += others.unused

    def caption_bare(self, text: str) -> None:
        """Give this caption to every candidate that has none."""
        for candidate in self.candidates:
            said = any(caption.text for caption in candidate.captions) or candidate.unreadable_captions
            if not said and candidate.text_features is None:
                candidate.captions = [Caption(source=MAIN_SOURCE, text=text)]


def collect(
    path: Path, layout: Layout, findings: Findings, bounds: Bounds, *, min_size: int, need_captions: bool
) -> DataSource:
    """Check every candidate; the good ones by key, all the others with their reasons."""
    entries, used = [], dict[str, str]()
    for candidate in sorted(findings.candidates, key=_rank):
        key, name = candidate.key, candidate.blob.name
        if fault := _outside(candidate, bounds):
            findings.report(key, "outside", fault)
            continue
        if key in used:
            findings.report(key, "duplicate_key", f"{name} has the key of {used[key]}, which is used instead of it")
            continue
        used[key] = name
        sample = _checked(candidate, findings, min_size=min_size, need_captions=need_captions)
        if sample is not None:
            entries.append(Entry(sample, candidate.blob, candidate.text_features))
    if any(candidate.has_latent for candidate in findings.candidates):
        layout = "features"  # also those in shards
    unused = {name for candidate in findings.candidates for name in candidate.unused_columns}
    used_keys = {entry.sample.key for entry in entries}  # of some a caption could not be read, and others could
    problems = [
        replace(p, used=True) if p.reason == "bad_record" and p.key in used_keys else p for p in set(findings.problems)
    ]
    told = (tuple(sorted(unused)), findings.unused, findings.read)
    return DataSource(path, layout, tuple(sorted(problems)), *told, tuple(entries))


def _outside(candidate: Candidate, bounds: Bounds) -> str | None:
    blobs = [candidate.blob] if candidate.text_features is None else [candidate.blob, candidate.text_features]
    if fault := next(filter(None, (bounds.fault(blob.path) for blob in blobs)), None):
        return fault
    named = f"{candidate.key} would lie outside of a folder that it is unpacked into; give it another name"
    return named if leads_out(candidate.key) else None


def _rank(candidate: Candidate) -> tuple[str, bool, str]:
    """By key; of several with one key a file that cannot be read, such as a phone's HEIC beside its JPEG, is last."""
    name = candidate.blob.name
    return candidate.key, Path(name).suffix.lower() in UNREADABLE_SUFFIXES, name


def _checked(candidate: Candidate, findings: Findings, *, min_size: int, need_captions: bool) -> Sample | None:
    """The sample, or None; what is wrong with it is added to ``findings``."""
    captions = ordered(caption for caption in candidate.captions if caption.text)
    facts = _facts(candidate, findings)
    size = facts and facts[0]
    if size is not None and min(size) < min_size:
        detail = f"it has {size[0]}x{size[1]} px; the shorter side must have {min_size} px"
        findings.report(candidate.key, "too_small", detail)
        size = None
    if (need_captions and not _has_captions(candidate, captions, findings)) or facts is None or size is None:
        return None
    return Sample(key=candidate.key, width=size[0], height=size[1], captions=captions, clip=facts[1])


def _facts(candidate: Candidate, findings: Findings) -> Facts | None:
    name, reason = candidate.blob.name, candidate.undecodable
    try:
        if reason is None:
            return _read_facts(candidate)
    except FileNotFoundError:
        findings.report(candidate.key, "missing_image", f"{name} is a link to a file that is not there")
        return None
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
    except PictureError as error:
        reason = str(error)
    findings.report(candidate.key, "too_large" if UNLESS_ALLOWED in str(reason) else "undecodable", f"{name}: {reason}")
    return None


def _has_captions(candidate: Candidate, captions: Sequence[Caption], findings: Findings) -> bool:
    for detail in candidate.unreadable_captions:
        findings.report(candidate.key, "bad_record", detail)
    if captions or candidate.text_features is not None:
        return True  # an empty one among others is how tables say that there is none from that source
    if candidate.captions:
        findings.report(candidate.key, "empty_caption", "its caption is empty")
    elif not candidate.unreadable_captions:
        findings.report(candidate.key, "missing_caption", f"{candidate.blob.name} has no caption")
    return False


def ordered(captions: Iterable[Caption]) -> tuple[Caption, ...]:
    """``prompt`` first, then by source; a source that comes again is numbered: ``text``, ``text_2``."""
    counts: Counter[str] = Counter()
    numbered = []
    for caption in captions:
        counts[caption.source] += 1
        again = counts[caption.source]
        numbered.append(caption if again == 1 else replace(caption, source=f"{caption.source}_{again}"))
    return tuple(sorted(numbered, key=lambda caption: (caption.source != MAIN_SOURCE, caption.source)))


def _read_facts(candidate: Candidate) -> Facts:
    """``(width, height)`` in pixels and what a clip has beside, from the header; raises PictureError and OSError."""
    if not candidate.has_latent:
        return medium_facts(candidate.blob) if candidate.size is None else (candidate.size, candidate.clip)
    with candidate.blob.open() as file:
        (*_, height, width), _ = read_npy_header(file)
    return candidate.size or (width * SANA_COMPRESSION, height * SANA_COMPRESSION), None
