"""The secret type gives nothing away by accident."""

import copy
import json
import pickle

import pytest
from common.secret import Secret
from pydantic import BaseModel, ConfigDict

CANARY = "canary-5f4dcc3b5aa765d61d8327deb882cf99"


class Holder(BaseModel):
    """A model with a secret, as a request body has."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    secret: Secret


@pytest.mark.bar(12)
@pytest.mark.parametrize("show", [repr, str, format, ascii, "{}".format, "%s".__mod__, "{!r:>10}".format])
def test_no_way_of_writing_a_secret_shows_it(show) -> None:
    assert CANARY not in show(Secret(CANARY))


def test_a_model_with_a_secret_shows_only_the_mask() -> None:
    holder = Holder.model_validate({"secret": CANARY})
    assert holder.secret.reveal() == CANARY
    for shown in (repr(holder), str(holder.model_dump()), holder.model_dump_json(), str(holder.model_json_schema())):
        assert CANARY not in shown


@pytest.mark.bar(12)
@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_a_secret_cannot_leave_by_copying_or_encoding(leave) -> None:
    with pytest.raises(TypeError) as failure:
        leave(Secret(CANARY))
    assert CANARY not in str(failure.value)


def test_equal_secrets_do_not_compare_equal_because_comparing_leaks_by_timing() -> None:
    assert Secret(CANARY) != Secret(CANARY)
