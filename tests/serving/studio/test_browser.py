"""The page in a browser; needs playwright and a Chromium, of its own or of the system."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sanakit.serving.studio.gallery import Gallery

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api")
SECONDS = 60_000  # patience, in milliseconds


@contextmanager
def opened(address: str) -> Iterator[Any]:
    """The page, and at its end without a word in the console."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with playwright.sync_playwright() as tools:
        try:
            browser = tools.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser: {error}")
        page, said = browser.new_page(), []
        page.set_default_timeout(SECONDS)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#shapes label")
        yield page
        browser.close()
        assert not said


@pytest.fixture
def page(studio_address: str) -> Iterator[Any]:
    with opened(studio_address) as page:
        yield page


def draw(page: Any, prompt: str, steps: int = 4) -> None:
    page.fill("#prompt", prompt)
    page.evaluate("steps => { const field = document.getElementById('steps'); field.value = steps; "
                  "field.dispatchEvent(new Event('input', { bubbles: true })); }", steps)  # fmt: skip
    page.keyboard.press("Control+Enter")


def test_a_picture_that_controls_is_shown_to_its_network_as_that_was_trained(page: Any) -> None:
    assert page.input_value("#control-type") == ""
    assert page.inner_text("#control-type option:checked") == "what it was trained on"


def test_draw_look_recall_and_delete(page: Any, gallery: Gallery) -> None:
    draw(page, "a browser draws this")
    page.wait_for_selector("#shown img[src^='data:image/png']")  # a preview, or its place
    page.wait_for_selector("#gallery button[aria-label^='a browser draws this']")
    page.click("#gallery button[aria-label^='a browser draws this']")
    page.click("#replay")
    page.wait_for_selector("#badge[data-outcome='identical']")
    seed = page.inner_text("#viewer-facts dt:text-is('seed') + dd")
    page.keyboard.press("Escape")
    page.fill("#prompt", "")
    (kept,) = gallery.find("browser draws")[0]
    page.set_input_files("#file", kept.path)
    page.wait_for_selector("#message:not([hidden])")
    assert (page.input_value("#prompt"), page.input_value("#seed")) == ("a browser draws this", seed)
    page.click("#gallery button[aria-label^='a browser draws this']")
    page.click("#delete")
    page.click("#delete")
    page.wait_for_selector("#gallery button[aria-label^='a browser draws this']", state="detached")
    assert not kept.path.exists()


def test_the_queue_is_there_after_a_reload_and_can_be_cancelled(page: Any) -> None:
    for prompt in map(str, range(12)):  # with more steps than the page offers, so that they are still there
        request = {"prompt": prompt, "size": "128x128", "num_inference_steps": 1000}
        assert page.evaluate(
            "request => fetch('/v1/jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, "
            "body: JSON.stringify(request) }).then(response => response.ok)", request,
        )  # fmt: skip
    page.fill("#prompt", "fourth")
    page.reload()
    page.wait_for_selector("#queue li")
    assert page.input_value("#prompt") == "fourth"
    while page.locator("#queue button[data-act=cancel]").count():
        page.locator("#queue button[data-act=cancel]").last.click(timeout=SECONDS)
        page.wait_for_timeout(300)
        if page.locator("#queue-field").is_hidden():
            break
    if page.locator("#cancel").is_visible():
        page.click("#cancel")
    page.wait_for_selector("#progress-field", state="hidden")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_picture_without_settings_is_edited(page: Any, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), "orange").save(tmp_path / "photo.png")
    with page.expect_response("**/studio/recall"):
        page.set_input_files("#file", tmp_path / "photo.png")
    page.wait_for_selector("#editor[open]")
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    page.focus(".handle[data-side=right]")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#add-right") == "8"
    page.fill("#add-right", "32")
    page.fill("#edit-prompt", "an edited orange")
    page.click("#edit-draw")
    page.wait_for_selector("#gallery button[aria-label^='an edited orange']")
