"""The list as a person sees it, in Chromium: what is said of each state of a binding, search, filters, pages."""

import json

import pytest
from playwright.sync_api import expect
from strongroom.types.v1 import binding_pb2 as pb

from tests.console.chromium import chromium, person

KEY = "k" * 43

ERROR, WARNING = pb.SEVERITY_ERROR, pb.SEVERITY_WARNING
CHIPS = [
    ("Connected", pb.STATUS_CONNECTED, pb.REASON_UNSPECIFIED, []),
    ("Connected", pb.STATUS_CONNECTED, pb.REASON_UNSPECIFIED, [("withdraw_enabled", WARNING)]),
    ("Checking", pb.STATUS_PENDING, pb.REASON_UNSPECIFIED, []),
    ("Checking", pb.STATUS_UNSPECIFIED, pb.REASON_UNSPECIFIED, []),
    ("Incorrect permissions", pb.STATUS_LIMITED, pb.REASON_PERMISSION_DENIED, [("missing_permission", ERROR)]),
    ("Incorrect permissions", pb.STATUS_LIMITED, pb.REASON_PERMISSION_DENIED, [("read_only_key", ERROR)]),
    ("Incorrect permissions", pb.STATUS_LIMITED, pb.REASON_POLICY_VIOLATION, [("transfer_enabled", ERROR)]),
    ("Withdrawal enabled", pb.STATUS_LIMITED, pb.REASON_POLICY_VIOLATION, [("withdraw_enabled", ERROR)]),
    ("Needs attention", pb.STATUS_LIMITED, pb.REASON_POLICY_VIOLATION, [("ip_list_absent", ERROR)]),
    ("Invalid", pb.STATUS_REJECTED, pb.REASON_INVALID_SECRET, [("invalid_secret", ERROR)]),
    ("Invalid", pb.STATUS_DISCONNECTED, pb.REASON_KEY_DELETED, [("key_deleted", ERROR)]),
    ("IP not allowed", pb.STATUS_REJECTED, pb.REASON_IP_NOT_WHITELISTED, [("ip_not_whitelisted", ERROR)]),
    ("Account restricted", pb.STATUS_DISCONNECTED, pb.REASON_KYC_REQUIRED, [("kyc_required", ERROR)]),
    ("Revoked", pb.STATUS_REVOKED, pb.REASON_UNSPECIFIED, []),
]


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def window(serve, issuer, folder, tenant, browser):
    """A person who has just signed in as a tenant that nobody else is."""
    file = folder / f"{tenant}.json"
    file.write_text(json.dumps({"key": KEY, "identities": {"acme": issuer.issue(tenant, subject="acme")}}))
    served = serve(console=True, console_local_file=str(file))
    with person(browser, served.url) as made:
        made.page.goto(f"{served.url}/#local={KEY}")
        yield made


def _enter(window):
    window.page.get_by_role("button", name="Sign in as acme").click()
    window.page.get_by_role("heading", name="API keys").wait_for()
    window.page.get_by_text("Live", exact=True).wait_for()


def _rows(window):
    return window.page.get_by_role("listitem").filter(has=window.page.locator(".title"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_state_is_told_by_its_word_and_never_as_connected_unless_it_is(window, world, tenant, scheme):
    for number, (_, status, reason, findings) in enumerate(CHIPS):
        found = [pb.Finding(code=code, severity=severity) for code, severity in findings]
        verdict = pb.Verdict(status=status, reason=reason, findings=found)
        world.put(tenant, label=f"key {number:02}", verdict=verdict)
    stale = world.put(tenant, label="key stale")
    world.observations[stale.id] = pb.Observation(stale=True)
    frozen = world.put(tenant, label="key frozen")
    world.observations[frozen.id] = pb.Observation(notes=[pb.Finding(code="frozen", severity=pb.SEVERITY_INFO)])
    window.page.emulate_media(color_scheme=scheme)
    _enter(window)
    expect(_rows(window)).to_have_count(len(CHIPS) + 2)
    told = {row.locator(".title").inner_text(): row.locator(".chip").inner_text() for row in _rows(window).all()}
    expected = {f"key {number:02}": chip for number, (chip, *_) in enumerate(CHIPS)}
    assert told == {**expected, "key stale": "Temporary issue", "key frozen": "Frozen"}
    assert window.violations() == []


def test_the_way_in_is_clean_and_leaves_no_key_in_the_address(window):
    window.page.get_by_role("button", name="Sign in as acme").wait_for()
    assert window.violations() == []
    assert KEY not in window.page.url
    _enter(window)
    assert window.page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    window.page.reload()
    window.page.get_by_role("heading", name="API keys").wait_for()
    window.page.get_by_role("button", name="Sign out").click()
    window.page.get_by_text("This is a stack on one machine").wait_for()
    assert window.violations() == []


def test_search_filter_and_pages_find_every_binding(window, world, tenant):
    for number in range(70):
        status = pb.STATUS_LIMITED if number % 10 == 3 else pb.STATUS_CONNECTED
        subject = "customer-x" if number == 69 else f"customer-{number}"
        made = f"{number:032x}"
        world.put(tenant, id=made, label=f"label {number:02}", subject=subject, verdict=pb.Verdict(status=status))
    _enter(window)
    rows = _rows(window)
    rows.nth(49).wait_for()
    expect(rows).to_have_count(50)
    window.page.get_by_label("Search").fill("LABEL 07")
    expect(rows).to_have_count(1)
    window.page.get_by_label("Search").fill("customer-x")
    expect(rows).to_have_count(0)
    window.page.get_by_role("button", name="Look for the customer “customer-x” in all keys").click()
    rows.filter(has_text="label 69").wait_for()
    window.page.get_by_label("Search").fill("")
    rows.nth(49).wait_for()
    window.page.get_by_role("button", name="Show more").click()
    rows.nth(69).wait_for()
    expect(rows).to_have_count(70)
    window.page.get_by_label("Status").select_option("Permissions or rules")
    window.page.get_by_text("7 keys").wait_for()
    assert window.violations() == []


def test_the_list_fits_a_phone(window, world, tenant):
    world.put(tenant, label="A name that is as long as a name may be, sixty-four characters..", subject="c" * 60)
    window.page.set_viewport_size({"width": 360, "height": 740})
    _enter(window)
    _rows(window).first.wait_for()
    assert window.sideways() <= 0
    assert window.violations() == []


def test_a_session_that_ends_is_told_and_begins_again(window, world, tenant):
    world.put(tenant, label="kept")
    _enter(window)
    window.page.context.clear_cookies()
    window.page.get_by_label("Status").select_option("Connected")
    window.page.get_by_text("Your session has ended").wait_for()
    window.expect_faults("401")
    assert window.violations() == []
    _enter(window)
    _rows(window).filter(has_text="kept").wait_for()
