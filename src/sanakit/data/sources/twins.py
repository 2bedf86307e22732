"""Captions in a folder of their own: ``captions/a.txt`` or ``captions/a.json`` of ``a.png`` or ``images/a.png``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from sanakit.data.sources.files import stem_of

TWIN_FOLDERS = frozenset({"caption", "captions", "prompt", "prompts", "text", "texts", "txt"})


def twin_texts(root: Path, pictures: Iterable[Path], texts: Mapping[str, Path]) -> dict[Path, Path]:
    """The text of each picture that has one: its path is that of the picture if the folder of captions is left out, and
    of the picture's path at most one folder (``images``). A text that may belong to several pictures counts for none.

    Args:
        texts: by path without suffix.
    """
    wanted: dict[str, list[Path]] = defaultdict(list)
    for path in pictures:
        stem = PurePosixPath(stem_of(path.relative_to(root)))
        for name in {stem, *_with_one_less(stem)}:
            wanted[name.as_posix()].append(path)
    found: dict[Path, Path] = {}
    for text in texts.values():
        name = PurePosixPath(stem_of(text.relative_to(root)))
        for short in (name for name, left_out in _with_one_less(name).items() if left_out.lower() in TWIN_FOLDERS):
            exact = [p for p in wanted[short.as_posix()] if _is_called(p, root, short)]
            several = exact or wanted[short.as_posix()]
            if len(several) == 1:
                found.setdefault(several[0], text)
    return found


def _is_called(path: Path, root: Path, name: PurePosixPath) -> bool:
    return stem_of(path.relative_to(root)) == name.as_posix()


def _with_one_less(name: PurePosixPath) -> dict[PurePosixPath, str]:
    """The path without one of its folders, and which."""
    folders = name.parts[:-1]
    return {PurePosixPath(*folders[:i], *folders[i + 1 :], name.name): folders[i] for i in range(len(folders))}
