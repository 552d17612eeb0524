"""Logs are denied by default."""

import json
import logging

import pytest
import structlog
from common import context, logs

CANARY = "canary-5f4dcc3b5aa765d61d8327deb882cf99"


@pytest.fixture
def lines(capsys):
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    logging.getLogger().handlers.clear()
    structlog.reset_defaults()


def test_only_named_keys_pass_and_only_as_short_plain_values(lines) -> None:
    logs.configure("test", "debug")
    logs.get().info("bound", binding="b" * 1000, secret_key=CANARY, count=3, reason={"deep": CANARY}, rule=b"canary")
    (line,) = lines()
    assert line["event"] == "bound"
    assert line["service"] == "test"
    assert line["count"] == 3
    assert len(line["binding"]) == logs.LIMIT
    assert (line["reason"], line["rule"]) == ("dict", "bytes")
    assert "secret_key" not in line


def test_a_foreign_library_may_only_say_that_it_said_something(lines) -> None:
    logs.configure("test", "debug")
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("urllib3.connection").exception("header %s", CANARY)
    logging.getLogger("aiohttp.client").debug(CANARY)
    (line,) = lines()
    assert (line["event"], line["logger"], line["error"]) == ("foreign_log", "urllib3.connection", "ValueError")
    assert CANARY not in json.dumps(line)


def test_every_line_carries_the_request_and_the_trace(lines) -> None:
    logs.configure("test")
    token = context.current.set(context.accept("request-0001", f"00-{'a' * 32}-{'b' * 16}-01"))
    logs.get().info("here")
    context.current.reset(token)
    (line,) = lines()
    assert (line["request_id"], line["trace_id"]) == ("request-0001", "a" * 32)


@pytest.mark.parametrize("given", [None, "", "short", "x" * 65, "a b c d e f", "ok-but\nnot"])
def test_a_malformed_request_id_is_replaced(given) -> None:
    made = context.accept(given, "garbage")
    assert made.request_id != given
    assert len(made.trace_id) == 32
