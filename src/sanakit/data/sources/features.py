"""A plain folder of cached features: ``key.npy`` latents with ``key.npz`` text features and captions beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sanakit.common.paths import composed
from sanakit.data.sources.blobs import FileBlob
from sanakit.data.sources.collect import Candidate, Findings
from sanakit.data.sources.files import key_of, parse_json, read_text, stem_of
from sanakit.data.sources.folder import add_captions
from sanakit.data.sources.records import size_of


def read_features(root: Path, files: Sequence[Path]) -> Findings:
    """Every latent among ``files``."""
    findings = Findings()
    by_name = {composed(path.as_posix()): path for path in files}
    latents = [path for path in files if path.suffix.lower() == ".npy"]
    for path in latents:
        stem = stem_of(path)
        text_features, facts = by_name.get(f"{stem}.npz"), by_name.get(f"{stem}.json")
        candidate = Candidate(key_of(path, root), FileBlob(path), has_latent=True)
        if text_features is not None:
            candidate.text_features = FileBlob(text_features)
        text = by_name.get(f"{stem}.txt")
        add_captions(candidate, path, text, {} if facts is None else {"": facts})
        findings.seen |= {file for file in (path, text, facts, text_features) if file is not None}
        candidate.size = None if facts is None else _size(facts)
        findings.candidates.append(candidate)
    stems = {stem_of(path) for path in latents}
    for path in files:
        if path.suffix.lower() == ".npz" and stem_of(path) not in stems:
            detail = f"{path.name} has no latent {path.stem}.npy beside it"
            findings.report(key_of(path, root), "missing_image", detail)
            findings.seen.add(path)
    return findings


def _size(facts: Path) -> tuple[int, int] | None:
    """Of the picture, if the JSON beside the latent says it; what is wrong with the JSON is told with the captions."""
    try:
        record = parse_json(read_text(facts))
    except ValueError:
        return None
    return size_of(record) if isinstance(record, dict) else None
