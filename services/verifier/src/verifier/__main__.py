"""Start `verifier api` or `verifier worker`; `--check` prints the settings that would be used."""

import sys
from functools import partial

from common import config, lifecycle, tracing

from verifier.settings import ApiSettings, WorkerSettings

USAGE = "usage: python -m verifier {api|worker} [--check]\n"


def main(arguments: list[str]) -> int:
    """Run the process that the first argument names; return its exit code."""
    role, options = (arguments[0] if arguments else ""), arguments[1:]
    if role not in ("api", "worker") or any(option != "--check" for option in options):
        sys.stderr.write(USAGE)
        return 2
    # A worker has no use for what serves callers, nor the other way round: each loads its own.
    if role == "api":
        from verifier.api import run_api  # noqa: PLC0415

        api = config.load(ApiSettings, options)
        with tracing.running("verifier", api):
            lifecycle.run(partial(run_api, api))
    else:
        from verifier.app import run_worker  # noqa: PLC0415

        worker = config.load(WorkerSettings, options)
        with tracing.running("worker", worker):
            lifecycle.run(partial(run_worker, worker))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
