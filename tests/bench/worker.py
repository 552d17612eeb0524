"""Run a worker with settings outside the range that its users may choose, as `name=number` arguments.

For measuring what the processor can do: a worker that may be set by anybody must keep the exchange's limits.
"""

import sys
from functools import partial

from common import config, lifecycle
from verifier.app import run_worker
from verifier.settings import WorkerSettings


def main(changes: list[str]) -> None:
    """Run with the settings of the environment and these changes to them."""
    settings = config.load(WorkerSettings, [])
    update = {name: float(value) for name, value in (change.split("=") for change in changes)}
    if unknown := update.keys() - WorkerSettings.model_fields.keys():
        raise SystemExit(f"no setting of the worker: {', '.join(sorted(unknown))}")
    lifecycle.run(partial(run_worker, settings.model_copy(update=update)))


if __name__ == "__main__":
    main(sys.argv[1:])
