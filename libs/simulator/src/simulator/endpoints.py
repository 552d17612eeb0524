"""The table of what the exchange serves: method and path to reply, right and rate. Each family keeps its own part
beside the functions that make its replies; a new endpoint is one line there."""

from typing import Final

from simulator import classic_futures, classic_spot, market, positions, replies, unified_orders, wallets
from simulator.calls import Table

ENDPOINTS: Final[Table] = {
    **market.CALLS,
    **replies.CALLS,
    **classic_spot.CALLS,
    **classic_futures.CALLS,
    **positions.CALLS,
    **unified_orders.CALLS,
    **wallets.CALLS,
}
