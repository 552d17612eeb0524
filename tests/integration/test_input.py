"""What people paste and what attackers send."""

import json

import pytest

from tests.integration.conftest import Driver

CANARY = "canary5f4dcc3b5aa765d61d8327deb882cf99"


@pytest.mark.parametrize("field", ["api_key", "secret_key", "passphrase"])
def test_white_space_pasted_around_a_value_is_removed_and_reported(field: str, driver: Driver) -> None:
    credential = driver.account()
    answer = driver.bind(credential | {field: f" \t\u200b{credential[field]}\ufeff\n "})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told["status"] == "connected"
    (finding,) = [each for each in told["findings"] if each["code"] == "whitespace_removed"]
    assert field in finding["detail"]


def bodies(good: dict) -> dict[str, object]:
    body = {"exchange": "bitget", "scopes": ["spot"], "credential": good}
    return {
        "white space inside": body | {"credential": good | {"secret_key": CANARY + " " + CANARY}},
        "a short secret": body | {"credential": good | {"secret_key": CANARY[:20]}},
        "a long secret": body | {"credential": good | {"secret_key": CANARY * 20}},
        "an unknown field": body | {"credential": good | {"secret": CANARY}},
        "an unknown field outside": body | {CANARY: CANARY},
        "a number as the secret": body | {"credential": good | {"secret_key": 7}},
        "a list as the key": body | {"credential": good | {"api_key": [CANARY]}},
        "a missing scope": {name: value for name, value in body.items() if name != "scopes"},
        "an unknown scope": body | {"scopes": [CANARY]},
        "another exchange": body | {"exchange": CANARY},
        "no credential": {"exchange": "bitget", "scopes": ["spot"]},
        "a list": [CANARY],
        "a text": CANARY,
    }


@pytest.mark.bar(10)
def test_malformed_bodies_are_refused_without_an_echo_of_any_value(driver: Driver) -> None:
    good = {"api_key": "bg_" + CANARY, "secret_key": CANARY * 2, "passphrase": CANARY[:20]}
    with driver.client() as http:
        for name, body in bodies(good).items():
            answer = http.post("/v1/bindings", json=body)
            assert 400 <= answer.status_code < 500, name
            assert answer.headers["content-type"] == "application/problem+json", name
            assert CANARY[:12] not in answer.text, name
            assert {"type", "title", "status", "detail", "code", "request_id"} <= answer.json().keys(), name
        assert http.get("/v1/bindings").json()["items"] is not None


def test_raw_bodies_that_are_no_proper_json_are_refused_without_an_echo(driver: Driver) -> None:
    text = json.dumps({"exchange": "bitget", "scopes": ["spot"], "credential": {"secret_key": CANARY}})
    raw = [text[:-2], text.replace('"scopes"', '"exchange": "x", "scopes"'), "[" * 50_000, "\x00" + text, ""]
    with driver.client(**{"Content-Type": "application/json"}) as http:
        for body in raw:
            answer = http.post("/v1/bindings", content=body)
            assert 400 <= answer.status_code < 500
            assert CANARY[:12] not in answer.text


def test_a_body_of_eight_megabytes_is_refused_and_the_gateway_goes_on(driver: Driver) -> None:
    with driver.client() as http:
        answer = http.post("/v1/bindings", json={"label": "x" * (8 << 20)})
        assert answer.status_code == 413
        assert answer.json()["code"]
        assert http.get("/v1/exchanges/bitget").status_code == 200
