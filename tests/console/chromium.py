"""A person with a browser: the system's Chromium, and all that its network, its policy and its console told.

At its end nothing may have gone to another place, broken the page's policy, or failed in it, whatever it showed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PATIENCE_MS = 60_000  # for what is awaited on a machine with much else to do


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's Chromium without a window; skip where there is none."""
    if PROGRAM is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # its sandbox refuses to run for root
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Person:
    """One browser window at the console of `url`, and what happened in it."""

    page: Page
    url: str
    sent: list[tuple[str, str, str]] = field(default_factory=list)  # method, URL, body
    faults: list[str] = field(default_factory=list)

    def expect_faults(self, *parts: str) -> None:
        """Forget the faults that a test brings about: those that hold one of `parts`."""
        self.faults = [fault for fault in self.faults if not any(part in fault for part in parts)]

    def violations(self) -> list[str]:
        """Return what axe finds wrong with the page as it is."""
        self.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
        found: dict[str, Any] = self.page.evaluate("tags => axe.run({runOnly: {type: 'tag', values: tags}})", AXE)
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    def sideways(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return width

    def _watch(self) -> None:
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", self._request)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)

    def _request(self, request: Any) -> None:
        self.sent.append((request.method, request.url, request.post_data or ""))
        if not request.url.startswith(self.url + "/"):
            self.faults.append(f"went elsewhere: {request.url}")
        if request.url.endswith("/console/reports"):
            self.faults.append(f"policy: {request.post_data}")


@contextmanager
def person(browser: Browser, url: str, **options: Any) -> Iterator[Person]:
    """Open a fresh window, as of somebody who was never here; fail at its end for any fault."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
    made = Person(context.new_page(), url)
    made._watch()
    try:
        yield made
    finally:
        context.close()
    assert made.faults == [], made.faults
