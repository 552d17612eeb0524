"""A whole stack with a person in front of it: real servers, the simulated exchange, and Chromium."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack
from playwright.sync_api import Browser

from tests.console.chromium import Person, chromium, person
from tests.integration.conftest import Driver

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.integration)


# Ended with each file, because nothing asynchronous may run beside it in this process.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    settings = LaunchSettings(tmp_path_factory.mktemp("stack"), free_port(), None, "127.0.0.1")
    with Stack(settings, lambda _: None) as running:
        running.start()
        yield Driver(running)


@pytest.fixture
def open_window(browser: Browser, stack: Driver) -> Iterator[Callable[..., Person]]:
    """Open windows at the stack's link, not signed in yet."""
    with ExitStack() as windows:

        def opened(**options: Any) -> Person:
            window = windows.enter_context(person(browser, stack.facts["gateway_url"], **options))
            window.page.goto(stack.facts["console_url"])
            return window

        yield opened


@pytest.fixture
def window(open_window: Callable[..., Person]) -> Person:
    """A person who has signed in as the first tenant."""
    made = open_window()
    made.page.get_by_role("button", name="Sign in as acme").click()
    made.page.get_by_role("heading", name="API keys").wait_for()
    return made
