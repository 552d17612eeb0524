"""What an operator does in an incident, on the page: freeze a key, see that it is told as frozen, and lift it."""

import json

import pytest
from cli.tokens import ADMIN_SCOPE, TENANT_SCOPES, TokenIssuer


@pytest.fixture
def head_of_desk(stack):
    """Let one more person sign in: of the first tenant, and an administrator."""
    file = stack.stack.home / "console.json"
    before = file.read_text()
    tenant, held = stack.facts["tenants"][0]["id"], json.loads(before)
    token = TokenIssuer.ensure(stack.stack.home / "issuer").issue(tenant, (*TENANT_SCOPES, ADMIN_SCOPE), "head of desk")
    file.write_text(json.dumps({**held, "identities": {**held["identities"], "head of desk": token}}))
    yield "head of desk"
    file.write_text(before)


def test_who_is_of_the_tenant_and_an_administrator_freezes_a_key_where_it_is_looked_at(
    stack, open_window, head_of_desk
):
    found = stack.bind(stack.account("unified-trader"), label="Looked at").json()["id"]
    operator = open_window()
    page = operator.page
    page.get_by_role("button", name=f"Sign in as {head_of_desk}").click()
    page.get_by_role("link", name="Freezes").wait_for()
    page.goto(f"{operator.url}/#/bindings/{found}")
    page.get_by_role("button", name="Freeze").click()
    dialog = page.get_by_role("dialog")
    assert operator.violations() == []
    dialog.get_by_label("Reason").fill("Looked into")
    dialog.get_by_role("button", name="Freeze").click()
    page.locator(".verdict .chip", has_text="Frozen").wait_for()
    dialog.wait_for(state="hidden")
    assert page.get_by_role("button", name="Freeze").count() == 0
    assert operator.violations() == []
    page.get_by_role("link", name="Freezes").click()
    page.get_by_role("button", name="Lift").click()
    dialog.get_by_label("Reason").fill("Nothing found")
    dialog.get_by_role("button", name="Lift").click()
    page.get_by_text("No active freezes").wait_for()


def test_an_administrator_freezes_a_key_and_lifts_it_and_its_owner_sees_both(stack, window, open_window):
    found = stack.bind(stack.account("classic-trader"), label="In doubt").json()["id"]
    operator = open_window()
    page = operator.page
    page.get_by_role("button", name="Sign in as administrator").click()
    page.get_by_role("heading", name="Freezes").wait_for()
    assert operator.violations() == []
    page.get_by_role("button", name="Freeze…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Tenant’s id").fill("0" * 26)
    dialog.get_by_label("Key’s id").fill(found)
    dialog.get_by_label("Reason").fill("Looked into")
    assert operator.violations() == []
    dialog.get_by_role("button", name="Freeze").click()
    dialog.get_by_role("alert").wait_for()
    operator.expect_faults("404", "422")
    dialog.get_by_label("Tenant’s id").fill(stack.facts["tenants"][0]["id"])
    dialog.get_by_role("button", name="Freeze").click()
    page.get_by_text("1 active freeze").wait_for()
    assert operator.violations() == []

    window.page.goto(f"{window.url}/#/bindings/{found}")
    window.page.get_by_role("button", name="Check again").click()
    window.page.locator(".verdict .chip", has_text="Frozen").wait_for()
    assert window.page.get_by_role("button", name="Freeze").count() == 0, "a tenant has no such right"

    page.set_viewport_size({"width": 360, "height": 740})
    assert operator.sideways() <= 0
    page.get_by_role("button", name="Lift").click()
    dialog.get_by_label("Reason").fill("Nothing found")
    dialog.get_by_role("button", name="Lift").click()
    page.get_by_text("No active freezes").wait_for()
    window.page.get_by_role("button", name="Check again").click()
    window.page.locator(".verdict .chip", has_text="Connected").wait_for()
