"""Own what an outage drill has seen, and the rules that it must have kept.

It sees as a customer does, by events and pages, and as the exchange does, by its log; the records it gets from OpenBao.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.bench import figures
from tests.bench.exchange_log import ExchangeLog, busiest_clock_minute, busiest_minute

PER_MINUTE = 5400  # the budget that all our processes share; the exchange shuts an address out above 6000
BURST = 50
EXCHANGE_PER_MINUTE = 6000
SLOW_S = 30.0  # what became due so shortly before the end may not have been tried before it

Json = dict[str, Any]


@dataclass
class Seen:
    """What was seen of the bindings from outside."""

    status: dict[str, str] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    ever_stale: set[str] = field(default_factory=set)
    changes: list[Json] = field(default_factory=list)
    events: int = 0
    resets: int = 0

    def event(self, told: Json) -> None:
        """Take an event into account."""
        self.events += not told["reset"]
        self.resets += bool(told["reset"])
        if not told["reset"]:
            self._state(told["binding_id"], told["status"], stale=told["stale"])

    def page(self, binding: Json) -> None:
        """Take a binding as it was read into account."""
        self._state(binding["id"], binding["status"], stale=binding["stale"])

    def _state(self, name: str, status: str, *, stale: bool) -> None:
        if self.status.get(name, status) != status:
            self.changes.append({"binding": name, "was": self.status[name], "became": status})
        if stale:
            self.stale.add(name)
            self.ever_stale.add(name)
        else:
            self.stale.discard(name)


@dataclass(frozen=True)
class Record:
    """Revision and status of a record."""

    revision: int
    status: int


@dataclass
class Evidence:
    """Everything that one drill brought to light; times are Unix seconds."""

    before: Mapping[str, Json]
    records_before: Mapping[str, Record]
    seen: Seen
    log: ExchangeLog
    asked: set[str] = field(default_factory=set)
    storms: list[tuple[float, float]] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    after: Mapping[str, Json] = field(default_factory=dict)
    records_after: Mapping[str, Record] = field(default_factory=dict)
    limits: Json = field(default_factory=dict)

    def due(self) -> set[str]:
        """Return the bindings that had to be asked for during the outage: by plan, or because a customer wished it."""
        late = self.ended - SLOW_S
        return {name for name, one in self.before.items() if unix(one["next_verification_at"]) < late} | self.asked

    def verified_again(self) -> list[float]:
        """Return when each binding that is up to date was verified, of those that were so after the outage."""
        moments = [unix(one["last_verified_at"]) for one in self.after.values() if not one["stale"]]
        return sorted(moment for moment in moments if moment >= self.ended)

    def in_storm(self, at_ms: int) -> bool:
        """Tell whether the exchange answered 429 to everything at that time."""
        return any(start <= at_ms / 1000 <= end for start, end in self.storms)

    def summary(self) -> Json:
        """Return each rule and whether it was kept, and the figures behind them."""
        calls, due, again = self.log.calls, self.due(), self.verified_again()
        times = sorted(call.at_ms for call in calls)
        busiest, by_clock = busiest_minute(times), busiest_clock_minute(times)
        refused = sum(call.code == "429" and not self.in_storm(call.at_ms) for call in calls)
        before, after = self.records_before, self.records_after
        rules = {
            "no status changed in any event or page": not self.seen.changes,
            "no status changed in any record": all(before[one].status == after[one].status for one in before),
            "all that was due became stale": due <= self.seen.ever_stale,
            "all were verified again": len(again) == len(self.before) == len(self.after),
            "never above the exchange's limit": max(busiest, by_clock) <= EXCHANGE_PER_MINUTE,
            "never above our own budget": max(busiest, by_clock) <= PER_MINUTE + BURST,
            "never above an endpoint's limit": not self.limits["over_in_a_sliding_second"],
            "no 429 that we caused": not refused,
            "no gap in the events": not self.seen.resets,
            "no call was missed in the count": not self.log.missed,
        }
        return {
            "passed": all(rules.values()),
            "rules": rules,
            "bindings": len(self.before),
            "outage_minutes": round((self.ended - self.began) / 60, 1),
            "due": len(due),
            "became_stale": len(self.seen.ever_stale),
            "verified_again": len(again),
            "half_verified_after_s": round(figures.percentile(again, 0.5) - self.ended, 1) if again else None,
            "last_verified_after_s": round(again[-1] - self.ended, 1) if again else None,
            "records_written_anew": sum(before[one].revision != after[one].revision for one in before),
            "events": self.seen.events,
            "changes": self.seen.changes[:5],
            "calls": len(calls),
            "calls_in_storms": sum(self.in_storm(at) for at in times),
            "busiest_minute": busiest,
            "busiest_clock_minute": by_clock,
            "machine": figures.machine(),
            "load_at_the_end": figures.load(),
            "date": figures.today(),
        }


def unix(moment: str | None) -> float:
    """Return RFC 3339 as Unix seconds; what is not known is long ago."""
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0
