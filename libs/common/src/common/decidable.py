"""Own which findings a tenant may decide, and what holds where it decides nothing. The others mean the same to all."""

from typing import Final

# The findings that are an error for one tenant and a remark for another.
DECIDABLE: Final = frozenset(
    (
        "withdraw_enabled",
        "withdraw_without_ip_list",
        "transfer_enabled",
        "unneeded_permission",
        "ip_list_absent",
        "egress_ip_missing",
        "ip_list_misuse",
        "environment_demo",
        "keys_near_limit",
        "account_bound_twice",
        "key_bound_elsewhere",
        "rotation_due",
        "unknown_permission",
    )
)
USUAL_ERRORS: Final = frozenset(("withdraw_enabled", "withdraw_without_ip_list"))
