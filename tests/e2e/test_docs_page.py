"""``GET /docs`` in a real browser: every route is listed and can be tried, and no other host is asked for anything."""

from __future__ import annotations

import httpx
import pytest

pytestmark = pytest.mark.browser


def test_docs(address: str, browser) -> None:  # type: ignore[no-untyped-def]
    page, asked, broken = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(f"{address}/docs")
    page.wait_for_selector(".opblock", timeout=120_000)
    document = httpx.get(f"{address}/openapi.json").json()
    assert page.locator(".opblock").count() == sum(map(len, document["paths"].values()))
    assert not broken and all(url.startswith((address, "data:", "blob:")) for url in asked), asked

    page.locator("#operations-The_app-get_healthz .opblock-summary-control").click()
    page.locator("#operations-The_app-get_healthz .execute").click()
    answer = page.locator("#operations-The_app-get_healthz .live-responses-table .response")
    answer.first.wait_for(timeout=60_000)
    assert "tiny-scenes" in answer.first.inner_text()

    page.locator("#operations-Text_to_image-post_text_to_image .opblock-summary-control").click()
    operation = page.locator("#operations-Text_to_image-post_text_to_image")
    operation.get_by_text("503", exact=True).first.wait_for()  # the page draws its answers after the rest
    words = operation.inner_text()
    assert all(status in words for status in ("200", "422", "429", "500", "503"))
    page.close()
