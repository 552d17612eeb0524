"""The table of what may be signed, and that everything else is refused."""

import pytest
from common.errors import PolicyRefused
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from vault import policy
from vault.canonical import canonical

POLICY = policy.load()


def check(method: str, path: str, **query: str) -> None:
    parameters = [QueryParameter(name=name, value=value) for name, value in query.items()]
    request = ExchangeRequest(method=method, path=path, query=parameters)
    POLICY.check(canonical(request, POLICY.camel_case_paths))


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v3/account/info", {}),
        ("/api/v3/account/assets", {}),
        ("/api/v3/account/funding-assets", {}),
        ("/api/v3/account/settings", {}),
        ("/api/v2/spot/account/info", {}),
        ("/api/v2/spot/account/assets", {}),
        ("/api/v2/spot/account/assets", {"assetType": "hold_only"}),
        ("/api/v2/mix/account/accounts", {"productType": "USDT-FUTURES"}),
        ("/api/v2/mix/account/accounts", {"productType": "USDC-FUTURES"}),
        ("/api/v2/mix/account/accounts", {"productType": "COIN-FUTURES"}),
        ("/api/v2/account/all-account-balance", {}),
        ("/api/v2/account/funding-assets", {}),
    ],
)
def test_the_verification_reads_are_allowed(path: str, query: dict[str, str]) -> None:
    check("GET", path, **query)


@pytest.mark.parametrize(
    ("method", "path", "query", "rule"),
    [
        ("POST", "/api/v3/account/info", {}, "not_a_verification_read"),
        ("POST", "/api/v2/spot/trade/place-order", {}, "not_a_verification_read"),
        ("POST", "/api/v2/spot/wallet/withdrawal", {}, "not_a_verification_read"),
        ("GET", "/api/v2/user/virtual-subaccount-apikey-list", {}, "not_a_verification_read"),
        ("GET", "/api/v9/never/heard-of", {}, "not_a_verification_read"),
        ("GET", "/api/v3/account/info", {"x": "1"}, "query_name"),
        ("GET", "/api/v2/spot/account/assets", {"coin": "USDT"}, "query_name"),
        ("GET", "/api/v2/mix/account/accounts", {"productType": "usdt-futures"}, "query_value"),
        ("GET", "/api/v2/mix/account/accounts", {"productType": ""}, "query_value"),
    ],
)
def test_everything_else_is_refused_by_name(method: str, path: str, query: dict[str, str], rule: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        check(method, path, **query)
    assert refused.value.extra == {"rule": rule}
