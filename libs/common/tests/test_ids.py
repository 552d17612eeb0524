"""Nothing but ids of the fixed grammar becomes part of a path."""

import pytest
from common import ids
from common.errors import InvalidArgument, NotFound

WRONG = ["", "*", "+", "..", "a/b", "a" * 25, "a" * 27, "A" * 26, "ä" * 26, "a" * 300, "a" * 25 + "\n", "a" * 26 + "\n"]


@pytest.mark.parametrize("value", WRONG)
def test_a_tenant_id_outside_the_grammar_is_refused_without_an_echo(value: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        ids.tenant_id(value)
    assert len(value) < 3 or value not in refusal.value.detail


@pytest.mark.parametrize("value", [*WRONG, "0" * 31, "0" * 33, "G" * 32, "0" * 32 + "\n"])
def test_a_malformed_binding_id_is_answered_like_one_that_does_not_exist(value: str) -> None:
    with pytest.raises(NotFound) as refusal:
        ids.binding_id(value)
    assert refusal.value.detail == NotFound().detail


def test_well_formed_ids_pass_unchanged() -> None:
    assert ids.tenant_id("a1" * 13) == "a1" * 13
    assert ids.binding_id("0f" * 16) == "0f" * 16
