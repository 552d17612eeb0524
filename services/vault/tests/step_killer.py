"""A program that dies on purpose: for each line of JSON on its input it forks, acts, and ends at the named step.

Run by test_step_kill.py with: the server's address, the login key, a folder for audit files. It answers each line with
the exit status of the fork: 137 when it was killed at the step, 0 when it came to its end.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from common import logs
from common.clock import SystemClock
from google.protobuf import json_format
from strongroom.vault.v1.binding_store_pb2 import BindRequest, PromoteRequest, StageRequest
from strongroom.vault.v1.revocations_pb2 import RevokeManyRequest
from vault.actor import Actor
from vault.asked import asked
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.enrolment import Enrolments
from vault.hashicorp.directory import VaultDirectory
from vault.hashicorp.http import VaultHttp
from vault.hashicorp.kv import KeyValue, OwnKeyValue
from vault.hashicorp.login import Connection, Logins
from vault.hashicorp.transit import Transit
from vault.records import Records
from vault.revocations import Revocations
from vault.room import Room
from vault.rotation import Rotations
from vault.settlement import Settlements


class DieAt:
    """End the process, as a kill would, at one step."""

    def __init__(self, step: str) -> None:
        self.step = step

    def reached(self, step: str) -> None:
        if step == self.step:
            os._exit(137)


class Ahead(SystemClock):
    """The machine's clock, ahead by some seconds: the lease of a process that was killed has ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def unix(self) -> float:
        return super().unix() + self.seconds


async def carry_out(order: dict[str, Any], http: VaultHttp, bindings: Bindings, audit: AuditLog, actor: Actor) -> None:
    """Order the end of many bindings, and do it."""
    documents, own = KeyValue(http), OwnKeyValue(http)
    steps, enrolments = DieAt(order["step"]), Enrolments(documents, own, audit)
    revocations = Revocations(
        bindings, enrolments, documents, own, audit, clock=Ahead(order.get("ahead", 0.0)), steps=steps
    )
    asked = await revocations.ask(actor, json_format.ParseDict(order["many"], RevokeManyRequest()))
    await revocations.carry_out(asked.id)


async def act(order: dict[str, Any], url: str, login_key: Path, audit_folder: Path) -> None:
    clock, connection = SystemClock(), Connection(url)
    actor = Actor(order["tenant"], "gateway")
    audit = AuditLog(audit_folder, clock)
    audit.start()
    async with VaultHttp(connection, Logins(connection, login_key, clock)) as http:
        steps = DieAt(order["step"])
        room = Room(OwnKeyValue(http), Records(KeyValue(http)), VaultDirectory(http), clock)
        bindings = Bindings(KeyValue(http), OwnKeyValue(http), Transit(http), audit, clock, room=room, steps=steps)
        common: dict[str, Any] = {"keys": Transit(http), "audit": audit, "clock": clock, "steps": steps}
        common |= {"bindings": bindings, "documents": KeyValue(http)}
        settlements = Settlements(**common)
        if "many" in order:
            await carry_out(order, http, bindings, audit, actor)
        elif "revoke" in order:
            await bindings.revoke(actor, order["revoke"])
        elif "stage" in order:
            request = json_format.ParseDict(order["stage"], StageRequest())
            await Rotations(settlements=settlements, **common).stage(actor, request)
        elif "promote" in order:
            request = json_format.ParseDict(order["promote"], PromoteRequest())
            wanted = (request.binding_id, request.expected_revision, request.version, request.verdict)
            await settlements.promote(actor, *wanted)
        elif "abandon" in order:
            await settlements.abandon(actor, order["abandon"], order["version"], "invalid_secret", [])
        else:
            await bindings.bind(actor, asked(actor.tenant, json_format.ParseDict(order["bind"], BindRequest())))
    await audit.stop()


def main() -> None:
    logs.configure("killed", "error")  # on standard error: the answers alone are on standard output
    url, login_key, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(act(json.loads(line), url, login_key, folder / "killed"))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
