"""The table of what the exchange serves: method and path to reply, right and rate. Each family keeps its own part
beside the functions that make its replies; a new endpoint is one line there."""

from typing import Final

from simulator import (
    classic_futures,
    classic_spot,
    holdings,
    market,
    plans,
    positions,
    replies,
    strategies,
    unified_orders,
    wallets,
)
from simulator.calls import Table

ENDPOINTS: Final[Table] = {
    **market.CALLS,
    **replies.CALLS,
    **classic_spot.CALLS,
    **classic_futures.CALLS,
    **positions.CALLS,
    **holdings.CALLS,
    **unified_orders.CALLS,
    **plans.CALLS,
    **strategies.CALLS,
    **wallets.CALLS,
}
