"""Plain folders: pictures with their captions in files of the same stem; and SANA's own image folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sanakit.common.paths import composed, is_clip, is_medium, is_medium_name, is_picture
from sanakit.data.samples import MAIN_SOURCE, Caption
from sanakit.data.sources.blobs import FileBlob
from sanakit.data.sources.collect import Candidate, Findings
from sanakit.data.sources.files import key_of, lines_of, parse_json, read_text, stem_of
from sanakit.data.sources.records import captions_of, unused_texts
from sanakit.data.sources.sidecars import Extra, add_entry, with_extra
from sanakit.data.sources.twins import twin_texts
from sanakit.data.sources.unused import NOT_TEXTS

_TEXTS = (".caption", ".txt")  # the last counts where there are both
_NOT_CAPTIONS = frozenset({"metadata", "captions", "meta_data", "wids-meta"})


def read_folder(root: Path, files: Sequence[Path], names: Sequence[str] | None = None) -> Findings:
    """Every picture and clip among ``files`` with the captions beside it.

    ``a.txt`` (or ``a.png.txt``, ``a.caption``): every non-empty line is a caption; the first is SANA's ``prompt``, the
    others are ``prompt_2`` and so on. Of a picture with none of these beside it, the text or record of its name in a
    folder ``captions`` (`sources/twins.py`) counts.
    ``a.json`` (or ``a.png.json``): a record. ``a_VILA.json``: SANA's external captions or scores, keyed by the name of
    the picture.

    Args:
        names: stems below ``root`` that SANA's ``meta_data.json`` lists; None takes every picture.
    """
    findings = Findings()
    stills = {stem_of(path) for path in files if is_picture(path)}  # a live photo's film has no part beside its picture
    pictures = [path for path in files if is_medium(path) and not (is_clip(path) and stem_of(path) in stills)]
    jsons = jsons_by_picture(files, {stem_of(path) for path in pictures})
    texts = _texts(files)
    bare = [path for path in pictures if _text_of(path, texts) is None and "" not in jsons.get(stem_of(path), {})]
    twins = twin_texts(root, bare, {stem_of(path): path for path in files if path.suffix.lower() == ".json"} | texts)
    listed = None if names is None else {composed((root / name).as_posix()) for name in names}
    for picture in pictures:
        stem = stem_of(picture)
        if listed is None or stem in listed or composed(picture.as_posix()) in listed:
            candidate = Candidate(key_of(picture, root), FileBlob(picture))
            text, beside = _text_of(picture, texts) or twins.get(picture), jsons.get(stem, {})
            if text is not None and text.suffix.lower() == ".json":
                beside, text = {**beside, "": text}, None
            add_captions(candidate, picture, text, beside)
            findings.candidates.append(candidate)
            findings.seen |= {picture, *([] if text is None else [text]), *beside.values()}
    if names is None:
        lonely = {name: path for name, path in texts.items() if path not in findings.seen}
        _find_lonely(root, lonely, _names(pictures) & texts.keys(), findings)
    else:
        _find_missing(root, names, pictures, findings)
    return findings


def add_captions(candidate: Candidate, picture: Path, text: Path | None, jsons: dict[str, Path]) -> None:
    """Captions of the files beside a picture (or a latent)."""
    if text is not None:
        try:
            candidate.captions += captions_in_text(read_text(text))
        except ValueError as error:
            candidate.unreadable_captions.append(f"{text.name}: {error}")
    extra = Extra()
    for suffix, path in jsons.items():
        try:
            content = parse_json(read_text(path))
            if suffix == "" and not _is_keyed(content, picture):
                candidate.captions += _captions_in_json(content)
                candidate.unused_columns |= unused_texts(content) if isinstance(content, dict) else set()
            elif (entry := _entry(content, picture)) is not None:
                add_entry(extra, entry, suffix)
        except ValueError as error:
            candidate.unreadable_captions.append(f"{path.name}: {error}")
    if extra.captions or extra.scores:
        candidate.captions = with_extra(candidate.captions, extra)


def _texts(files: Sequence[Path]) -> dict[str, Path]:
    """By path without suffix."""
    found: dict[str, Path] = {}
    for suffix in _TEXTS:
        found |= {stem_of(path): path for path in files if path.suffix.lower() == suffix}
    return found


def _text_of(picture: Path, texts: Mapping[str, Path]) -> Path | None:
    return texts.get(stem_of(picture)) or texts.get(composed(picture.as_posix()))


def captions_in_text(text: str) -> list[Caption]:
    """Every non-empty line, all called ``prompt`` (they are numbered later); one empty caption if there is none."""
    lines = [line.strip() for line in lines_of(text) if line.strip()]
    return [Caption(source=MAIN_SOURCE, text=line) for line in lines or [""]]


def _captions_in_json(content: Any) -> list[Caption]:
    match content:
        case str():
            return [Caption(source=MAIN_SOURCE, text=content.strip())]
        case list():
            return captions_of({MAIN_SOURCE: content})
        case dict():
            return captions_of(content)
        case _:
            raise ValueError("it is neither a text nor a JSON object with a caption")


def jsons_by_picture(files: Sequence[Path], stems: set[str]) -> dict[str, dict[str, Path]]:
    """Stem of a picture to suffix to path; of several pictures whose stem begins the name, the longest counts."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in files:
        if path.suffix.lower() != ".json" or path.stem in _NOT_CAPTIONS:
            continue
        name = stem = stem_of(path)
        if is_medium_name(name):
            name = stem = stem.rpartition(".")[0]
        while stem not in stems and "_" in stem.rpartition("/")[2]:
            stem = stem.rpartition("_")[0]
        if stem in stems:
            found[stem][name.removeprefix(stem)] = path
    return found


def _is_keyed(content: Any, picture: Path) -> bool:
    return isinstance(content, dict) and not _names_of(picture).isdisjoint(map(composed, content))


def _entry(content: Any, picture: Path) -> Any:
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object keyed by the name of the picture")
    names = _names_of(picture)
    return next((entry for name, entry in content.items() if composed(name) in names), None)


def _names_of(picture: Path) -> set[str]:
    return {composed(picture.name), composed(picture.stem)}


def _find_lonely(root: Path, lonely: Mapping[str, Path], has_captions: Collection[str], findings: Findings) -> None:
    """Captions without a picture; other text files of a folder that has no captions beside pictures are just texts."""
    for path in lonely.values() if has_captions else ():
        if path.stem.lower() not in NOT_TEXTS:
            detail = f"{path.name} has no picture of the same name beside it"
            findings.report(key_of(path, root), "missing_image", detail)
            findings.seen.add(path)


def _find_missing(root: Path, names: Sequence[str], pictures: Sequence[Path], findings: Findings) -> None:
    for picture in pictures:
        if picture not in findings.seen:
            detail = f"{picture.name} lies in the folder, and meta_data.json does not list it"
            findings.report(key_of(picture, root), "missing_caption", detail)
            findings.seen.add(picture)
    there = _names(pictures)
    for name in sorted(set(names)):
        if composed((root / name).as_posix()) not in there:
            findings.report(name, "missing_image", f"meta_data.json lists {name}, and no picture of that name is there")


def _names(pictures: Sequence[Path]) -> set[str]:
    """With their suffixes and without."""
    return {name for picture in pictures for name in (stem_of(picture), composed(picture.as_posix()))}
