"""The gateway processes: `python -m gateway [--check | openapi]`, and `python -m gateway deliver [--check]`."""

import asyncio
import gc
import os
import sys
from functools import partial

from common import config, lifecycle, logs, tracing

from gateway.settings import DelivererSettings, GatewaySettings


def main(arguments: list[str]) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0 done, 1 failed, 2 bad settings."""
    if arguments == ["openapi"]:
        from gateway import app, documented  # noqa: PLC0415  what delivers has no use for what serves, nor vice versa

        sys.stdout.write(documented.text(app.build()))
        return 0
    if arguments[:1] == ["deliver"] and arguments[1:] in ([], ["--check"]):
        return _deliver(config.load(DelivererSettings, arguments))
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m gateway [--check | openapi | deliver [--check]]\n")
        return 2
    settings = config.load(GatewaySettings, arguments)
    logs.configure("gateway", settings.log_level)
    return _serve(settings)


def _deliver(settings: DelivererSettings) -> int:
    from gateway import deliverer  # noqa: PLC0415  as above

    logs.configure("deliverer", settings.log_level)
    try:
        with tracing.running("deliverer", settings):
            lifecycle.run(partial(deliverer.run, settings))
    except OSError as error:
        sys.stderr.write(f"cannot deliver: a file, a port or an address cannot be used ({type(error).__name__})\n")
        return 1
    return 0


def _serve(settings: GatewaySettings) -> int:
    from gateway.server import Gateway, listen  # noqa: PLC0415  as above

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

    with tracing.running("gateway", settings):
        lifecycle.run(serve)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
