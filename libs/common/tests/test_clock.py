"""Times are told as RFC 3339, and what cannot be told is known before."""

import pytest
from common.clock import representable, rfc3339, timestamp
from google.protobuf.timestamp_pb2 import Timestamp


@pytest.mark.parametrize("seconds", [0, 1_763_800_000, 253_402_300_798])
def test_a_representable_time_can_be_told(seconds: int) -> None:
    value = Timestamp(seconds=seconds, nanos=999_999_999)
    assert representable(value)
    assert rfc3339(value).endswith("Z")


@pytest.mark.parametrize(
    "value",
    [Timestamp(seconds=-1), Timestamp(seconds=2**62), Timestamp(seconds=1, nanos=-1), Timestamp(nanos=2**30)],
)
def test_a_time_that_nobody_of_ours_wrote_is_not_representable(value: Timestamp) -> None:
    assert not representable(value)


def test_a_time_keeps_its_milliseconds() -> None:
    assert rfc3339(timestamp(1_700_000_000.123)) == "2023-11-14T22:13:20.123Z"
