"""Own the shape of what a key that works has told. It holds facts and judges nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from strongroom.types.v1.binding_pb2 import SCOPE_UNSPECIFIED, AccountMode, Balances, Environment, Permissions

from verifier.bitget.codes import ExchangeFailure, Group
from verifier.bitget.models import KeyInfo

# The place in `refused` and `unread` of what concerns no single scope.
ACCOUNT_ITSELF: Final = int(SCOPE_UNSPECIFIED)


@dataclass(frozen=True, slots=True)
class Gap:
    """A read that gave nothing, and why; it decides nothing about the key as a whole."""

    failure: ExchangeFailure

    @property
    def group(self) -> Group:
        return self.failure.rule.group


@dataclass(frozen=True, slots=True)
class Product:
    """Whether a product exists for the account and holds anything; None where it could not be told.

    `doubtful` is a product that many accounts lack: nothing told is not taken for "offered".
    """

    offered: bool | None = None
    funded: bool | None = None
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What was learned of a key that works. `refused` holds the permission refusals by the scope they concern.

    `hiccup` means that something could not be read this time for a passing reason; `unread` names the calls among
    them that could have been refused, by scope; `info_refused` is the refusal to tell the key's own permissions.
    """

    environment: Environment.ValueType
    mode: AccountMode.ValueType
    info_endpoint: str
    info: KeyInfo
    permissions: Permissions
    products: Mapping[str, Product]
    balances: Balances | None
    refused: Mapping[int, ExchangeFailure] = field(default_factory=dict)
    unread: Mapping[int, str] = field(default_factory=dict)
    hiccup: bool = False
    info_refused: ExchangeFailure | None = None
