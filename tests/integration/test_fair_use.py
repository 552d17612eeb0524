"""The exchange's limits are shared fairly over REST: by turn, and who is told to come later is told when."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
from cli.tokens import TokenIssuer

from tests.integration.conftest import Driver
from tests.integration.test_proxy import Bound

SLOW = "/api/v2/spot/account/info"  # one call a second of an account


def ask(bound: Bound, subject: str) -> httpx.Response:
    """Ask for an account as one of the tenant's services."""
    issuer = TokenIssuer.ensure(bound.driver.stack.home / "issuer")
    token = issuer.issue(bound.driver.facts["tenants"][0]["id"], subject=subject)
    headers = {"Authorization": f"Bearer {token}"}
    wanted = {"method": "GET", "path": SLOW}
    return httpx.post(bound.base + "/requests", json=wanted, headers=headers, timeout=30, trust_env=False)


def test_a_loud_service_is_told_to_come_later_while_a_quiet_one_is_served(driver: Driver) -> None:
    bound = Bound(driver, "classic-trader")
    with ThreadPoolExecutor(16) as loud:
        flood = [loud.submit(ask, bound, "loud") for _ in range(16)]
        quiet = ask(bound, "quiet")
        answers = [one.result() for one in flood]
    assert (quiet.status_code, quiet.json()["code"]) == (200, "00000")
    told = Counter(one.status_code for one in answers)
    assert set(told) == {200, 429}
    # On a busy machine calls may bunch up on their way, and the exchange itself says no: that answer is as it came.
    ours = [one for one in answers if one.status_code == 429 and one.json()["code"] != "429"]
    assert ours
    for one in ours:
        assert one.json()["code"] == "exchange_budget_spent"
        assert int(one.headers["retry-after"]) >= 1
        assert f'"exchange";r=0;t={one.headers["retry-after"]}' in one.headers["ratelimit"]
        assert one.headers["ratelimit-policy"]
    sent = [one for one in bound.arrived() if one.startswith(SLOW)]
    assert len(sent) >= 1 + told[200]  # and what was told to come later was not sent
    assert len(sent) < 17
