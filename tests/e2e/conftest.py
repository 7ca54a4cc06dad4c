"""One browser for all pages; without a chromium the tests say so and skip, except in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.spaces.conftest import address, app, inspector  # noqa: F401

# Debian's chromium-headless-shell opens no window: the same pages in a sixth less time
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Not for the session: Playwright's loop runs in the main thread, and asyncio.run() refuses beside it."""
    if not CHROMIUM and os.environ.get("CI") != "true":
        pytest.skip("no chromium on the PATH; Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI must have chromium"
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        options += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]  # a camera, and leave to use it
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()
