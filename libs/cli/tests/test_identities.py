"""The tenants' file: made once, kept, and open to whoever wants other tenants or rules of their own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cli.identities import TENANT_NAMES, Identities
from cli.processes import LaunchError

RULES = {"errors": ["withdraw_enabled", "ip_list_absent"], "rotation_days": 90}


def written(home: Path) -> Any:
    return json.loads((home / "tenants.json").read_text())


def test_two_tenants_are_made_and_kept(tmp_path: Path) -> None:
    first, second = (Identities.ensure(tmp_path).tenants for _ in range(2))
    assert [one.name for one in first] == list(TENANT_NAMES)
    assert [one.id for one in first] == [one.id for one in second] == [one["id"] for one in written(tmp_path)]
    assert all(re.fullmatch("[a-z0-9]{26}", one.id) for one in first)


def test_tenants_that_somebody_wrote_get_an_id_once_and_keep_their_rules(tmp_path: Path) -> None:
    (tmp_path / "tenants.json").write_text(json.dumps([{"name": "plain"}, {"name": "strict", "rules": RULES}]))
    identities = Identities.ensure(tmp_path)
    assert [one.name for one in identities.tenants] == ["plain", "strict"]
    kept = written(tmp_path)
    assert kept[1] == {"id": identities.tenants[1].id, "name": "strict", "rules": RULES}
    Identities.ensure(tmp_path)
    assert written(tmp_path) == kept
    assert identities.tenants_file == tmp_path / "tenants.json"


def test_a_rule_can_be_added_to_a_tenant_that_exists(tmp_path: Path) -> None:
    before = Identities.ensure(tmp_path).tenants
    changed = [one | {"rules": RULES} for one in written(tmp_path)]
    (tmp_path / "tenants.json").write_text(json.dumps(changed))
    assert [one.id for one in Identities.ensure(tmp_path).tenants] == [one.id for one in before]
    assert written(tmp_path) == changed


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", "[1]", '[{"id": "x"}]', '[{"name": 1}]', '[{"name": "a", "id": 1}]']
)
def test_a_file_that_lists_no_tenants_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "tenants.json").write_text(text)
    with pytest.raises(LaunchError, match=re.escape(str(tmp_path / "tenants.json"))) as refused:
        Identities.ensure(tmp_path)
    assert "\n" not in str(refused.value)
