"""Own how much memory the processes of a drill have, from its warm part to its end."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.bench import figures

SAMPLE_S = 15.0
OURS = ("gateway", "vault", "verifier", "worker")
GROWTH, SLACK_MB = 1.05, 4.0


class Memory:
    """The resident memory of each process in MB, sampled."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self.samples: dict[str, list[float]] = defaultdict(list)

    async def watch(self) -> None:
        """Sample for ever."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)

    def sample(self) -> None:
        """Read each process once; raises FileNotFoundError when one is gone."""
        for name, pid in self._pids.items():
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            self.samples[name].append(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024)

    def quarters(self) -> dict[str, tuple[float, float]]:
        """Return the median of each process in the second and in the last quarter of the time."""
        return {name: (_middle(each, 1), _middle(each, 3)) for name, each in self.samples.items()}

    def grown(self) -> list[str]:
        """Return which of our processes had more at the end than once they were warm."""
        return [
            f"{name}: {early:.1f} MB, then {late:.1f} MB"
            for name, (early, late) in self.quarters().items()
            if name in OURS and late > early * GROWTH + SLACK_MB
        ]


def _middle(samples: Sequence[float], quarter: int) -> float:
    part = samples[len(samples) * quarter // 4 : max(1, len(samples) * (quarter + 1) // 4)] or samples[-1:]
    return figures.percentile(part, 0.5)
