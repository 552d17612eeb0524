"""The one canonical request: what is signed is what is sent, and what could be read in two ways is refused."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from common.errors import PolicyRefused
from hypothesis import given
from hypothesis import strategies as st
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from vault.canonical import canonical
from yarl import URL

CAMEL = frozenset(["/api/v2/spot/trade/orderInfo"])
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="&=?", exclude_categories=["Cc", "Cs"]), max_size=40)
QUERIES = st.dictionaries(NAMES, VALUES, max_size=6)
PATHS = st.from_regex(r"/api/v[0-9](/[a-z0-9-]{1,12}){1,5}", fullmatch=True)


def get(path: str, *query: tuple[str, str], method: str = "GET", body: bytes = b"") -> ExchangeRequest:
    parameters = [QueryParameter(name=name, value=value) for name, value in query]
    return ExchangeRequest(method=method, path=path, query=parameters, body=body)


@pytest.mark.bar(24)
@given(path=PATHS, query=QUERIES, order=st.randoms(use_true_random=False))
def test_the_wire_query_decodes_to_the_signed_query_whatever_the_order(path: str, query: dict[str, str], order) -> None:  # type: ignore[no-untyped-def]
    pairs = list(query.items())
    order.shuffle(pairs)
    made = canonical(get(path, *pairs), CAMEL)
    target = made.target()
    assert target.isascii()
    assert " " not in target
    signed = made.unstamped().decode().removeprefix("GET")
    assert unquote(target) == signed
    assert parse_qsl(urlsplit(target).query, keep_blank_values=True, strict_parsing=bool(query)) == sorted(pairs)
    assert str(URL("http://exchange" + target, encoded=True).raw_path_qs) == target


@pytest.mark.bar(24)
@given(path=PATHS, body=st.binary(max_size=200))
def test_a_post_is_signed_with_the_very_bytes_of_its_body(path: str, body: bytes) -> None:
    made = canonical(get(path, method="POST", body=body), CAMEL)
    assert made.prehash(1700000000000) == b"1700000000000POST" + path.encode() + body
    assert (made.target(), made.body) == (path, body)


@pytest.mark.bar(25)
@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/../v2/spot",
        "/api/v2/%2e%2e/spot",
        "/api/v2//spot",
        "/api/v2/spot/",
        "/api/v2",
        "/api/v2/Spot/account",
        "/api/v2/spot/trade/orderinfo?x=1",
        "/api/v2/spot;a=b",
        "/api/v2/spot#x",
        "/api/v2/spot\\x",
        "/api/v2/spot\x00",
        "/api/v2/spot\n",
        "/api/v2/sp ot",
        "/api/v2/spöt",
        "/user/verify",
        "http://elsewhere/api/v2/spot",
        "//elsewhere/api/v2/spot",
        "/api/v2/" + "x" * 300,
        "",
    ],
)
def test_a_path_outside_the_grammar_is_refused(path: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        canonical(get(path), CAMEL)
    assert refused.value.extra == {"rule": "path_grammar"}


@pytest.mark.bar(28)
@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (get("/api/v2/a", method="DELETE"), "method"),
        (get("/api/v2/a", method="get"), "method"),
        (get("/api/v2/a", ("x", "1"), method="POST"), "query_on_post"),
        (get("/api/v2/a", body=b"{}"), "body_on_get"),
        (get("/api/v2/a", ("x", "1"), ("x", "2")), "query_duplicate"),
        (get("/api/v2/a", ("x", "1&y=2")), "query_grammar"),
        (get("/api/v2/a", ("x", "a=b")), "query_grammar"),
        (get("/api/v2/a", ("x", "a\r\nb")), "query_grammar"),
        (get("/api/v2/a", ("x", "a\x7fb")), "query_grammar"),
        (get("/api/v2/a", ("x=y", "1")), "query_grammar"),
        (get("/api/v2/a", ("", "1")), "query_grammar"),
        (get("/api/v2/a", ("x", "1" * 600)), "query_grammar"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_by_name(request_: ExchangeRequest, rule: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        canonical(request_, CAMEL)
    assert refused.value.extra == {"rule": rule}


def test_a_path_with_capitals_is_taken_exactly_as_the_exchange_spells_it() -> None:
    assert canonical(get("/api/v2/spot/trade/orderInfo"), CAMEL).target() == "/api/v2/spot/trade/orderInfo"
    with pytest.raises(PolicyRefused):
        canonical(get("/api/v2/spot/trade/orderINFO"), CAMEL)


def test_a_value_goes_on_the_wire_with_everything_encoded_that_a_library_might_rewrite() -> None:
    assert canonical(get("/api/v2/a", ("x", "a/b ~%+ö")), CAMEL).target() == "/api/v2/a?x=a%2Fb%20~%25%2B%C3%B6"
