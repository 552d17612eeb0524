"""The gateway process: `python -m gateway [--check | openapi]`."""

import asyncio
import gc
import os
import sys

from common import config, lifecycle, logs

from gateway import app, documented
from gateway.server import Gateway, listen
from gateway.settings import GatewaySettings


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0 done, 1 failed, 2 bad settings."""
    if arguments == ["openapi"]:
        sys.stdout.write(documented.text(app.build()))
        return 0
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m gateway [--check | openapi]\n")
        return 2
    settings = config.load(GatewaySettings, arguments)
    logs.configure("gateway", settings.log_level)
    return _serve(settings)


def _serve(settings: GatewaySettings) -> int:
    outcome = 0

    async def serve(stopping: asyncio.Event) -> None:
        nonlocal outcome
        try:
            gateway = Gateway(settings)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"settings: a file or URL cannot be used ({type(error).__name__})\n")
            outcome = 2
            return
        sockets = []
        for address in (settings.listen, settings.health_address):
            try:
                sockets.append(listen(address))
            except OSError as error:
                sys.stderr.write(f"cannot listen on {address}: {os.strerror(error.errno or 0)}\n")
                outcome = 1
                return
        gc.collect()
        gc.freeze()  # what is built by now stays: looking through it again and again would hold answers up
        logs.get().info("listening", address=settings.listen)
        await gateway.run(stopping, *sockets)
        logs.get().info("stopped")

    lifecycle.run(serve)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
