"""The page's files: small, whole, and nothing from elsewhere."""

from __future__ import annotations

import re

import pytest

from sanakit.serving.studio.routes import page_files

FILES = page_files()
SCRIPTS = {name: content.decode() for name, content in FILES.items() if name.endswith(".js")}
HTML = FILES["index.html"].decode()
IDS = re.findall(r'\bid="([\w-]+)"', HTML)


def test_weight() -> None:
    assert sum(map(len, FILES.values())) <= 150_000


def test_nothing_comes_from_elsewhere() -> None:
    for name, content in FILES.items():
        told = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\"//|@import|url\(", told), name


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r'"studio/page/([\w.-]+)"', HTML))
    for text in SCRIPTS.values():
        named |= set(re.findall(r'(?:from|import) "\./([\w.-]+)"', text))
    assert named == set(FILES) - {"index.html"}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_id_that_a_script_asks_for_exists(name: str) -> None:
    asked = set(re.findall(r'(?:\bat|getElementById)\("([\w-]+)"\)', SCRIPTS[name]))
    assert asked <= set(IDS), asked - set(IDS)


def test_every_name_that_is_imported_is_exported() -> None:
    kinds = r"export (?:async )?(?:const|function\*?|class) (\w+)"
    exported = {name: set(re.findall(kinds, text)) for name, text in SCRIPTS.items()}
    for name, text in SCRIPTS.items():
        for names, other in re.findall(r'import \{ ([\w, ]+) \} from "\./([\w.-]+)"', text):
            assert set(names.split(", ")) <= exported[other], (name, names, other)
        for alias, other in re.findall(r'import \* as (\w+) from "\./([\w.-]+)"', text):
            used = set(re.findall(rf"(?<![./\w]){alias}\.(\w+)", text))
            assert used, f"{name} imports {other} for nothing"
            assert used <= exported[other], (name, other, used - exported[other])


def test_markup_is_allowed_by_the_policy_and_has_names() -> None:
    assert not re.search(r"<script(?![^>]*src)|<style|\son\w+=|\sstyle=", HTML)
    assert len(IDS) == len(set(IDS))
    labelled = set(re.findall(r'<label[^>]*\bfor="([\w-]+)"', HTML))
    for field in re.findall(r"<(?:input|select|textarea)[^>]*>", HTML):
        found = re.search(r'\bid="([\w-]+)"', field)
        within = re.search(r"<label[^>]*>[^<]*" + re.escape(field), HTML)
        assert "aria-label" in field or within or (found and found[1] in labelled), field
    for text in re.findall(r"<button[^>]*>\s*(?:[^\w<]|<svg|</)", HTML):
        assert "aria-label" in text, text
