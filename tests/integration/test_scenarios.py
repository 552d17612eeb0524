"""Every scenario of the simulator's file, bound through REST: the whole verdict, and one event for each change."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack, embedded
from simulator import scenarios
from simulator.calls import Public
from simulator.endpoints import ENDPOINTS
from simulator.scenarios import Scenario
from verifier.bitget import limits

from tests.integration.scenario_runner import Runner

BOOK = scenarios.read()
pytestmark = pytest.mark.timeout(600)  # the first test waits for all scenarios
AT_ONCE = 48
# What waits longest begins first.
PATIENT = ("invalid_api_key", "key_deleted")


def _weight(scenario: Scenario) -> int:
    reasons = [scenario.expect["reason"], *(step.expect["reason"] for step in scenario.then)]
    # The clock is measured once in 30 s: what has it measured begins first, so that the last scenario finds that past.
    clock = any(fault["kind"] == "time" or fault.get("code") == "40008" for fault in scenario.faults)
    return (
        -100 * clock
        - len(scenario.then)
        - 10 * sum(reason in PATIENT for reason in reasons)
        - 20 * bool(scenario.others)
    )


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Runner]:
    """Run a stack with the book's tenants and published addresses."""
    home: Path = tmp_path_factory.mktemp("scenarios")
    tenants = [{"name": name, "rules": rules} if rules else {"name": name} for name, rules in BOOK.tenants.items()]
    (home / "tenants.json").write_text(json.dumps(tenants))
    servers = embedded
    if pytestconfig.getoption("servers") == "containers":
        from tests.integration.containers import containers as servers
    settings = LaunchSettings(home, free_port(), None, ",".join(BOOK.egress), log_level="info")
    with Stack(settings, lambda _: None, servers) as stack:
        stack.start()
        with Runner(BOOK, stack.description) as made:
            yield made


@pytest.fixture(scope="module")
def complaints(runner: Runner, request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Run every selected scenario, those that concern nobody else at the same time; return what is not as expected."""
    here = [item.name for item in request.session.items if item.path == Path(__file__)]
    table = [one for one in BOOK.table if f"test_the_verdict_is_whole_and_true[{one.name}]" in here]
    together = sorted((one for one in table if not one.alone), key=_weight)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip([one.name for one in together], pool.map(runner.run, together), strict=True))
    return found | {one.name: runner.run(one) for one in table if one.alone}


@pytest.mark.parametrize("scenario", BOOK.table, ids=lambda one: one.name)
def test_the_verdict_is_whole_and_true(scenario: Scenario, complaints: dict[str, list[str]]) -> None:
    assert not complaints[scenario.name], "\n".join([scenario.says, *complaints[scenario.name]])


def test_the_exchange_refused_no_call_for_its_limits(runner: Runner, complaints: dict[str, list[str]]) -> None:
    if not complaints:
        pytest.skip("no scenario was selected")
    with httpx.Client(base_url=runner.control_url, trust_env=False) as control:
        met = control.get("/stats").json()["limits"]
    assert (met["refused_by_endpoint"], met["refused_by_address"]) == (0, 0), met
    # Sliding seconds, of which the exchange knows nothing, are for drill-load: on a busy machine calls arrive together.


def test_the_simulator_enforces_the_limits_that_the_verifier_plans_for() -> None:
    enforced = {
        f"{method} {path.decode()}": (endpoint.rate, "ip" if isinstance(endpoint, Public) else "uid")
        for (method, path), endpoint in ENDPOINTS.items()
    }
    planned = {name: (one.per_second, one.scope) for name, one in limits.LIMITS.items() if name in enforced}
    assert {name: enforced[name] for name in planned} == planned
    assert set(enforced) - set(planned) == {"GET /api/v3/market/time"}  # of whose rate no source tells, and nobody asks


def test_there_are_scenarios_for_every_error_of_the_guide() -> None:
    names = {one.name for one in BOOK.table}
    assert len(names) >= 80
    mistakes = (
        "wrong-api-key",
        "wrong-secret",
        "wrong-passphrase",
        "extra-spaces",
        "permission-denied",
        "ip-whitelist",
    )
    assert {f"guide-{mistake}" for mistake in mistakes} <= names
