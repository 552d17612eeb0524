"""What a customer does with a key, on the page and the whole stack: bind it, hear what is wrong, replace it, end it."""

import base64
import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect


def fill(window, credential, name=""):
    """Type the three values into whatever form shows them."""
    for label, value in (("API key", "api_key"), ("Secret key", "secret_key"), ("Passphrase", "passphrase")):
        window.page.get_by_role("textbox", name=label, exact=True).fill(credential[value])
    if name:
        window.page.get_by_role("textbox", name="Name", exact=True).fill(name)


def bind(window, credential, name, scope="Both"):
    """Go to the form and bind; return when the last step is there."""
    window.page.goto(f"{window.url}/#/bind/7")
    fill(window, credential, name)
    window.page.get_by_role("radio", name=scope, exact=True).check()
    window.page.get_by_role("button", name="Bind", exact=True).click()
    window.page.get_by_role("heading", name="Check the status").wait_for()


def chip(window, word):
    """Wait until the binding that is shown is called by this word."""
    window.page.locator(".verdict .chip", has_text=word).wait_for(timeout=60_000)


def spellings(secret):
    raw = secret.encode()
    encoded = [base64.b64encode(raw[at:]).decode().rstrip("=")[2:-2] for at in range(3)]
    return {secret, secret[:24], raw.hex(), quote(secret, safe=""), *encoded}


def shown(driver, window):
    with driver.client() as http:
        return http.get(f"/v1/bindings/{window.page.url.rpartition('/')[2]}").json()


def test_the_eight_steps_lead_to_a_connected_key_and_nobody_on_the_way_sees_the_secret(stack, window):
    credential = stack.account("classic-trader")
    page = window.page
    page.get_by_role("link", name="Bind a key").click()
    for title in ("Log in", "Open API management", "Create a key", "Set the permissions", "Restrict the addresses"):
        page.get_by_role("heading", name=title).wait_for()
        assert window.violations() == [], title
        if title == "Set the permissions":
            page.get_by_role("radio", name="Spot", exact=True).check()
            page.get_by_text("Futures orders").wait_for(state="detached")
            page.get_by_role("radio", name="Both", exact=True).check()
            page.get_by_text("Futures orders").wait_for()
        if title == "Restrict the addresses":
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page.get_by_role("button", name="Copy address").click()
            page.get_by_role("button", name="Copied").wait_for()
            assert page.evaluate("navigator.clipboard.readText()") == "127.0.0.1"
        page.get_by_role("link", name="Next").click()
    page.get_by_role("link", name="I have the three values").click()
    fill(window, {**credential, "secret_key": f" {credential['secret_key']}\u200b\n"}, "Main account")
    assert window.violations() == []
    page.get_by_role("button", name="Bind", exact=True).click()
    chip(window, "Connected")
    good = page.locator(".check.good")
    expect(good.filter(has_text="belong together")).to_have_count(1)
    expect(good.filter(has_text="Permissions for Spot and Futures")).to_have_count(1)
    expect(page.locator(".check.bad, .check.wait")).to_have_count(0)
    assert window.violations() == []
    bound = shown(stack, window)
    assert (bound["status"], bound["label"]) == ("connected", "Main account")
    assert bound["credential"]["sealed"] is True
    posted = [body for method, url, body in window.sent if method == "POST" and url.endswith("/v1/bindings")]
    assert len(posted) == 1
    assert "wrapped_secret" in posted[0]
    for _, url, body in window.sent:
        assert not [one for one in spellings(credential["secret_key"]) if one in url + body], url
    kept = page.evaluate("[localStorage.length, sessionStorage.length, document.body.innerHTML]")
    assert kept[:2] == [0, 0]
    assert credential["secret_key"] not in kept[2]


@pytest.mark.parametrize(
    ("changes", "credential", "word", "told"),
    [
        ({}, {"secret_key": "0" * 64}, "Invalid", "What to do"),
        ({}, {"passphrase": "Wrong1234567"}, "Invalid", "What to do"),
        ({"ips": ["203.0.113.7"]}, {}, "IP not allowed", "127.0.0.1"),
        ({"authorities": ["stor", "stow"]}, {}, "Incorrect permissions", "edit this key"),
        (
            {"authorities": ["stor", "stow", "coor", "coow", "cpor", "cpow", "wwow"]},
            {},
            "Withdrawal enabled",
            "Withdraw",
        ),
    ],
    ids=["wrong secret", "wrong passphrase", "IP refused", "permission missing", "withdrawal"],
)
def test_what_is_wrong_with_a_key_is_told_where_it_happens_with_what_solves_it(
    stack, window, changes, credential, word, told
):
    bind(window, {**stack.account("classic-trader", **changes), **credential}, "Not yet")
    chip(window, word)
    window.page.locator(".finding", has_text=told).first.wait_for()
    window.page.locator(".check.bad").first.wait_for()
    assert window.violations() == []


def test_a_value_that_no_key_has_is_told_at_its_field_and_nothing_is_sent(stack, window):
    credential = stack.account("classic-trader")
    window.page.goto(f"{window.url}/#/bind/7")
    fill(window, {**credential, "secret_key": credential["api_key"], "passphrase": "two words"})
    window.page.get_by_role("button", name="Bind", exact=True).click()
    window.page.get_by_text("This looks like an API key").wait_for()
    window.page.get_by_text("There is white space inside this value").wait_for()
    expect(window.page.get_by_role("textbox", name="Secret key")).to_be_focused()
    assert [one for one in window.sent if one[0] == "POST" and "/v1/" in one[1]] == []
    assert window.violations() == []


def test_a_key_that_is_bound_already_leads_to_its_binding(stack, window):
    credential = stack.account("classic-trader")
    found = stack.bind(credential).json()["id"]
    window.page.goto(f"{window.url}/#/bind/7")
    fill(window, credential)
    window.page.get_by_role("button", name="Bind", exact=True).click()
    window.page.get_by_role("link", name="Open it").click()
    window.page.wait_for_url(f"**/#/bindings/{found}")
    window.expect_faults("409")


def test_a_key_is_replaced_and_a_refused_one_leaves_the_old_one_in_use(stack, window):
    first = stack.account("classic-trader", uid="731")
    found = stack.bind(first).json()
    second, foreign = stack.account("classic-trader", uid="731"), stack.account("classic-trader", uid="732")
    page = window.page
    page.goto(f"{window.url}/#/bindings/{found['id']}")
    page.get_by_role("button", name="Replace key").click()
    fill(window, foreign)
    assert window.violations() == []
    page.get_by_role("dialog").get_by_role("button", name="Replace", exact=True).click()
    page.get_by_role("dialog").get_by_text("belongs to another account").first.wait_for()
    window.expect_faults("409")
    fill(window, second)
    page.get_by_role("dialog").get_by_role("button", name="Replace", exact=True).click()
    page.get_by_role("dialog").wait_for(state="detached")
    page.get_by_text(re.compile("version [2-9]")).wait_for()
    chip(window, "Connected")
    after = stack.settled(found["id"])
    assert (after["credential"]["version"] > 1, after["credential"]["sealed"]) == (True, True)
    assert second["api_key"].endswith(after["credential"]["api_key_hint"][-4:])
    for _, url, body in window.sent:
        assert not [one for one in spellings(second["secret_key"]) if one in url + body], url


def test_how_a_key_is_called_and_what_it_is_for_is_changed_and_more_uses_are_checked(stack, window):
    account = stack.account("classic-trader", authorities=["stor", "stow"])
    found = stack.bind(account, label="Old name", subject="customer-7", scopes=["spot"]).json()["id"]
    page = window.page
    page.goto(f"{window.url}/#/bindings/{found}")
    chip(window, "Connected")
    page.get_by_role("button", name="Edit").click()
    dialog = page.get_by_role("dialog", name="Edit “Old name”")
    expect(dialog.get_by_role("radio", name="Spot", exact=True)).to_be_checked()
    assert window.violations() == []
    dialog.get_by_role("textbox", name="Name").fill("x" * 65)
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_text("This text is too long.").wait_for()
    window.expect_faults("422")
    assert window.violations() == []
    dialog.get_by_role("textbox", name="Name").fill("New name")
    dialog.get_by_role("textbox", name="Customer").fill("")
    dialog.get_by_role("radio", name="Both", exact=True).check()
    dialog.get_by_role("button", name="Save").click()
    dialog.wait_for(state="detached")
    page.get_by_role("heading", name="New name").wait_for()
    chip(window, "Incorrect permissions")
    after = stack.settled(found)
    assert (after["label"], after["subject"], after["scopes"]) == ("New name", "", ["spot", "futures"])
    expect(page.get_by_role("button", name="Edit")).to_be_focused()


def test_a_revocation_says_what_it_ends_and_then_ends_it(stack, window):
    found = stack.bind(stack.account("classic-trader"), label="Soon gone").json()["id"]
    page = window.page
    page.goto(f"{window.url}/#/bindings/{found}")
    page.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog", name="Revoke “Soon gone”?")
    assert window.violations() == []
    assert dialog.get_by_role("button", name="Revoke").is_disabled()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    expect(page.get_by_role("button", name="Revoke")).to_be_focused()
    page.get_by_role("button", name="Revoke").click()
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Revoke").click()
    chip(window, "Revoked")
    page.get_by_role("heading", name="Delete the key at Bitget too").wait_for()
    page.get_by_role("button", name="Replace key").wait_for(state="detached")
    with stack.client() as http:
        assert http.get(f"/v1/bindings/{found}").json()["status"] == "revoked"
    assert window.violations() == []


def test_a_lost_connection_is_told_and_what_happened_meanwhile_is_shown_when_it_is_back(stack, window):
    credential = stack.account("classic-trader")
    found = stack.bind(credential).json()["id"]
    page = window.page
    page.goto(f"{window.url}/#/bindings/{found}")
    chip(window, "Connected")
    page.get_by_text("Live", exact=True).wait_for()
    page.context.set_offline(True)
    page.get_by_text("The live connection is interrupted").wait_for()
    assert window.violations() == []
    stack.change(credential, authorities=["stor", "stow"])
    with stack.client(Prefer="wait=20") as http:
        assert http.post(f"/v1/bindings/{found}/verify").json()["status"] == "limited"
    page.context.set_offline(False)
    chip(window, "Incorrect permissions")
    page.get_by_text("Live", exact=True).wait_for()
    page.locator(".history", has_text="status: connected → limited").wait_for()
    window.expect_faults("ERR_INTERNET_DISCONNECTED")
    asked = [url for _, url, _ in window.sent if url.endswith("/v1/events")]
    assert len(asked) >= 2
    stack.change(credential, authorities=["stor", "stow", "coor", "coow", "cpor", "cpow"])
    with stack.client() as http:
        http.post(f"/v1/bindings/{found}/verify")
    chip(window, "Connected")


def test_a_key_is_bound_with_the_keyboard_alone(stack, window):
    credential, page = stack.account("classic-trader"), window.page

    def reach(name):
        for _ in range(40):
            page.keyboard.press("Tab")
            told = page.evaluate(
                "document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent"
            )
            if told == name:
                return
        raise AssertionError(f"{name} cannot be reached")

    for name in ("Bind a key", "I have a key already"):
        reach(name)
        page.keyboard.press("Enter")
        page.wait_for_url("**/#/bind**" if name == "Bind a key" else "**/#/bind/7")
        page.locator(".step").wait_for()
    for label, value in (("API key", "api_key"), ("Secret key", "secret_key"), ("Passphrase", "passphrase")):
        reach(label)
        page.keyboard.insert_text(credential[value])
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Check the status").wait_for()
    chip(window, "Connected")


def test_everything_fits_a_phone_also_in_the_dark(stack, open_window):
    window = open_window(viewport={"width": 360, "height": 740}, color_scheme="dark")
    window.page.get_by_role("button", name="Sign in as acme").click()
    found = stack.bind(stack.account("unified-trader"), label="On the phone").json()["id"]
    places = ["", *(f"bind/{step}" for step in range(1, 8)), f"bind/8/{found}", f"bindings/{found}"]
    for place in places:
        window.page.goto(f"{window.url}/#/{place}")
        window.page.locator("h1").wait_for()
        window.page.get_by_text("Loading…").first.wait_for(state="detached")
        assert (window.sideways() <= 0, window.violations()) == (True, []), place


def test_no_other_tenants_key_is_shown(stack, window):
    foreign = stack.bind(stack.account("classic-trader"), tenant=1).json()["id"]
    window.page.goto(f"{window.url}/#/bindings/{foreign}")
    window.page.get_by_text("There is nothing here, or it is not yours.").wait_for()
    window.expect_faults("404")
