"""Runs one scenario: makes its account at the simulated exchange, binds it through REST, changes what changes later,
and says in words what was told differently from what the scenario expects."""

import contextlib
import hashlib
import json
import queue
import secrets
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Self

import httpx
from simulator import expectation
from simulator.expectation import Verdict
from simulator.pasting import Credential, created, pasted
from simulator.scenarios import Book, Expectation, Scenario, Step

WAIT_S = 30  # the longest that a caller may ask to wait for a verdict
PATIENCE_S = 120.0
EVENT_S = 30.0
UNKNOWN_S = 1.5  # beyond the second in which the exchange counts
Json = dict[str, Any]


class Runner:
    """A client of every tenant, with an open event stream each; safe to use from many threads."""

    def __init__(self, book: Book, facts: Mapping[str, Any]) -> None:
        self._book = book
        self.control_url: str = facts["simulator_control_url"]
        limits = httpx.Limits(max_connections=200)
        self._control = httpx.Client(base_url=self.control_url, trust_env=False, timeout=30, limits=limits)
        self._tenants = {
            tenant["name"]: httpx.Client(
                base_url=facts["gateway_url"],
                headers={"Authorization": f"Bearer {tenant['token']}"},
                timeout=WAIT_S + 15,
                trust_env=False,
                limits=limits,
            )
            for tenant in facts["tenants"]
        }
        self._events: dict[str, list[Json]] = defaultdict(list)
        self._streams: queue.Queue[httpx.Response] = queue.Queue()

    def __enter__(self) -> Self:
        self._listeners = [threading.Thread(target=self._listen, args=(one,)) for one in self._tenants.values()]
        for listener in self._listeners:
            listener.start()
        self._opened = [self._streams.get(timeout=60) for _ in self._listeners]
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._opened:
            stream.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        for listener in self._listeners:
            listener.join()
        for client in (self._control, *self._tenants.values()):
            client.close()

    def run(self, scenario: Scenario) -> list[str]:
        """Return what was told differently from what the scenario expects; nothing when all is as expected."""
        try:
            return self._run(scenario)
        except (httpx.HTTPError, AssertionError, KeyError) as error:
            return [f"{type(error).__name__}: {error}"]

    def _run(self, scenario: Scenario) -> list[str]:
        credential = created(scenario.name, scenario.key, scenario.account.get("passphrase", ""))
        account = {**scenario.account, **_identity(scenario.name, credential)}
        if scenario.exchange != "key_unknown":
            self._put(credential, account)
        self._trouble(scenario, credential, scenario.faults)
        try:
            self._bind_others(scenario, credential, account)
            answer = self._bind(scenario, scenario.tenant, pasted(credential, scenario.paste))
            if "turned_away" in scenario.expect:
                return _turned_away(scenario.expect["turned_away"], answer)
            if not answer.is_success:
                return [f"bind: {answer.status_code} {answer.text}"]
            return self._verdicts(scenario, credential, account, answer.json()["id"])
        finally:
            self._trouble(scenario, credential, ())

    def _verdicts(self, scenario: Scenario, credential: Credential, account: Json, binding_id: str) -> list[str]:
        client = self._tenants[scenario.tenant]
        wanted = expectation.expected(self._book, scenario.expect, account["uid"], _tokens(account, scenario.expect))
        found = self._compared(client, binding_id, scenario.expect, wanted, settled=True)
        own = account["uid"]
        for number, step in enumerate(scenario.then, 1):
            if found:
                break
            before, heard = wanted, len(self._events[binding_id])
            account = {**account, **(step.account or {})}
            self._change(scenario, step, credential, account)
            client.post(f"/v1/bindings/{binding_id}/verify", headers={"Prefer": f"wait={WAIT_S}"})
            tokens = _tokens(account, step.expect) if _read_again(step.expect) else before["tokens"]
            wanted = expectation.expected(self._book, step.expect, own, tokens)
            found = self._compared(client, binding_id, step.expect, wanted, settled=False)
            found += self._told(binding_id, heard, expectation.changes(before, wanted), step.events)
            found = [f"then {number}: {line}" for line in found]
        return found

    def _compared(
        self, client: httpx.Client, binding_id: str, expect: Expectation, wanted: Verdict, *, settled: bool
    ) -> list[str]:
        """Return the differences once a verdict is in (`settled`), or when none came to what is wanted in time."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            binding = client.get(f"/v1/bindings/{binding_id}").json()
            got = expectation.told(self._book, binding)
            found = expectation.differences(wanted, got) or expectation.untold(expect, binding)
            decided = settled and (binding["status"] != "pending" or (binding["stale"] and wanted["stale"]))
            if not found or decided or time.monotonic() > deadline:
                return found
            time.sleep(0.2)

    def _told(self, binding_id: str, heard: int, wanted: Mapping[str, tuple[Any, Any]], most: int) -> list[str]:
        """Return how the events since `heard`, which are `most` or fewer, differ from telling the wanted changes."""
        deadline = time.monotonic() + EVENT_S
        while True:
            events = self._events[binding_id][heard:]
            got = _merged(events)
            found = [f"event: {line}" for line in expectation.differences(wanted, got)]
            if not found and len(events) > most:
                found = [f"event: {len(events)} events tell it"]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def _change(self, scenario: Scenario, step: Step, credential: Credential, account: Json) -> None:
        if step.exchange == "key_unknown":
            assert self._control.delete(f"/accounts/{credential.api_key}").is_success
        elif step.account is not None or step.exchange == "key_known":
            self._put(credential, account)
        if step.faults is not None:
            self._trouble(scenario, credential, step.faults)

    def _put(self, credential: Credential, account: Json) -> None:
        answer = self._control.put(f"/accounts/{credential.api_key}", json=account)
        assert answer.is_success, answer.text

    def _trouble(self, scenario: Scenario, credential: Credential, faults: tuple[Mapping[str, Any], ...]) -> None:
        """Set the scenario's faults, for its account alone unless they are everybody's."""
        if scenario.alone:
            assert self._control.put("/faults", json={"faults": list(faults)}).is_success
            return
        assert self._control.delete("/faults", params={"account": credential.api_key}).is_success
        mine = [{**fault, "account": credential.api_key} for fault in faults]
        assert not mine or self._control.post("/faults", json={"faults": mine}).is_success

    def _bind_others(self, scenario: Scenario, credential: Credential, account: Json) -> None:
        for number in range(scenario.others.get("same_account", 0)):
            other = created(f"{scenario.name} {number}")
            self._put(other, {**account, **_identity(f"{scenario.name} {number}", other), "uid": account["uid"]})
            assert self._bind(scenario, scenario.tenant, other).is_success
            # Whose key it is, nobody knows before its first call: keys of one account bound within a second can
            # together meet the account's limit (docs/adr/0018-one-budget-for-all-processes.md). No customer does that.
            time.sleep(UNKNOWN_S)
        for tenant, kind in (("elsewhere", "elsewhere"), (scenario.tenant, "same_key")):
            if kind in scenario.others:
                assert self._bind(scenario, tenant, credential).is_success
                time.sleep(UNKNOWN_S)

    def _bind(self, scenario: Scenario, tenant: str, credential: Credential) -> httpx.Response:
        body = {
            "exchange": "bitget",
            "label": scenario.name,
            "scopes": list(scenario.scopes),
            "credential": credential.form(),
        }
        headers = {"Prefer": f"wait={WAIT_S}", "Idempotency-Key": secrets.token_hex(8)}
        deadline = time.monotonic() + PATIENCE_S
        while True:  # under one key: a connection that was closed meanwhile, and a 503, say nothing of the scenario
            with contextlib.suppress(httpx.RemoteProtocolError):
                answer = self._tenants[tenant].post("/v1/bindings", json=body, headers=headers)
                if answer.status_code != 503 or time.monotonic() > deadline:
                    return answer
            time.sleep(1)

    def _listen(self, client: httpx.Client) -> None:
        with (
            contextlib.suppress(httpx.TransportError),  # cut by us in the end
            client.stream("GET", "/v1/events", timeout=None) as stream,
        ):
            self._streams.put(stream)
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    self._events[event["binding_id"]].append(event)


def _identity(name: str, credential: Credential) -> Json:
    """Return what makes an account one of its own."""
    uid = str(10**9 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10**9)
    form = credential.form()
    return {"name": name, "uid": uid, **{field: form[field] for field in ("api_key", "secret_key", "passphrase")}}


def _tokens(account: Mapping[str, Any], expect: Expectation) -> list[str]:
    """Return what the exchange lists of the key's rights, the read-write switch of a unified one among them."""
    if expect["mode"] == "classic":
        return list(account["authorities"])
    hyphens = account.get("style", {}).get("perm_type") == "hyphen"
    word = account["perm_type"].replace("_", "-") if hyphens else account["perm_type"]
    return [*account["permissions"], f"permType={word}"]


def _read_again(expect: Expectation) -> bool:
    """Tell whether a verdict rests on what the exchange has just told about the key."""
    return expect["status"] in ("connected", "limited") and not expect["stale"]


def _turned_away(wanted: Mapping[str, Any], answer: httpx.Response) -> list[str]:
    problem = answer.json()
    errors = [f"{one['field']} {one['code']}" for one in problem.get("errors") or []]
    got = {"status": answer.status_code, "code": problem.get("code"), "errors": errors}
    return expectation.differences(wanted, got)


def _merged(events: list[Json]) -> dict[str, tuple[Any, Any]]:
    """Return what several events tell together: the first value before and the last one after."""
    told: dict[str, tuple[Any, Any]] = {}
    for change in (change for event in events for change in event["changes"]):
        before, after = (_value(change["field"], change[side]) for side in ("before", "after"))
        told[change["field"]] = (told.get(change["field"], (before, after))[0], after)
    return {field: values for field, values in told.items() if values[0] != values[1]}


def _value(field: str, value: Any) -> Any:
    """Return one side of a change as the compared verdicts have it: a permission that is unset is not known."""
    if field.startswith("permissions.") and value is None:
        return "unknown"
    return sorted(set(value)) if isinstance(value, list) else value
