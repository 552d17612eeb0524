"""Own the invented accounts of benchmarks and drills: what the simulator is told of them and what their owners hold."""

import secrets
from dataclasses import dataclass
from typing import Any

UNIFIED = {"permissions": ["uta_mgt", "uta_trade"], "perm_type": "read_and_write"}
CLASSIC = {"authorities": ["stor", "stow", "coor", "coow", "cpor", "cpow"]}
FIRST_UID = 7_000_000_000


@dataclass(frozen=True)
class Account:
    """One key of one account of its own; it works on no real exchange."""

    name: str
    uid: str
    mode: str
    api_key: str
    secret_key: str
    passphrase: str

    def simulated(self) -> dict[str, Any]:
        """Return the account as the simulator's configuration has it."""
        held = {"spot": {"USDT": "1250.5", "BTC": "0.015"}, "futures": {"USDT": "750.25"}}
        rights = UNIFIED if self.mode == "unified" else CLASSIC
        return {**vars(self), **rights, "ips": ["127.0.0.1"], "balances": held}

    def credential(self) -> dict[str, str]:
        """Return the credential as a bind request has it."""
        return {"api_key": self.api_key, "secret_key": self.secret_key, "passphrase": self.passphrase}


def accounts(count: int, *modes: str) -> list[Account]:
    """Return `count` accounts whose modes take turns."""
    return [_account(number, modes[number % len(modes)]) for number in range(count)]


def _account(number: int, mode: str) -> Account:
    return Account(
        name=f"{mode}-{number}",
        uid=str(FIRST_UID + number),
        mode=mode,
        api_key="bg_" + secrets.token_hex(16),
        secret_key=secrets.token_hex(32),
        passphrase="Pass" + secrets.token_hex(6),
    )
