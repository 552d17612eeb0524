"""The vault service as a process that dies and is started again, and who torments it and its way to Vault."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from cli import pki
from cli.processes import clean_environment, free_port
from cli.tokens import TokenIssuer
from vault import steps

from tests.cluster.wire import Wire

STEPS = (*steps.BIND, *steps.REVOKE, *steps.STAGE, *steps.PROMOTE, *steps.ABANDON, *steps.MANY)
PROGRAM = Path(__file__).with_name("mortal.py")


class Lives:
    """One service at one address; a context manager. `begin` starts a life, which may be fated to end at a step."""

    def __init__(self, folder: Path, vault_url: str, login_key: Path) -> None:
        self.authority, self.issuer = pki.Authority.create(folder / "pki"), TokenIssuer.create(folder / "issuer")
        self.audit_folder, self._told, self._log = folder / "audit", folder / "deaths", folder / "vault.log"
        self.target = f"127.0.0.1:{free_port()}"
        leaf = self.authority.issue("vault")
        settings = {
            "LISTEN": self.target,
            "HEALTH_ADDRESS": f"127.0.0.1:{free_port()}",
            "TLS_CERT_FILE": str(leaf.cert_file),
            "TLS_KEY_FILE": str(leaf.key_file),
            "TLS_CA_FILE": str(leaf.ca_file),
            "JWT_ISSUER": self.issuer.issuer,
            "JWKS_FILE": str(self.issuer.jwks_file),
            "VAULT_URL": vault_url,
            "LOGIN_KEY_FILE": str(login_key),
            "AUDIT_FOLDER": str(self.audit_folder),
            "LOG_LEVEL": "warning",
        }
        self._environment = clean_environment(**{f"STRONGROOM_{name}": text for name, text in settings.items()})
        self._program: subprocess.Popen[str] | None = None
        self._pid = 0
        self.kills = 0

    def __enter__(self) -> Self:
        self._told.touch()
        with self._log.open("ab") as log:
            self._program = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self._told)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._program is not None
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._end()
        self._program.stdin.close()
        self._program.wait(10)
        self._program.stdout.close()

    def begin(self, die_at: str = "", nth: int = 1) -> None:
        """Start a life; the program answers once it is forked, long before it serves."""
        assert self._program is not None
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps({"die_at": die_at, "nth": nth}) + "\n")
        self._program.stdin.flush()
        self._pid = int(self._program.stdout.readline())

    def kill(self) -> None:
        """Kill the process, at whatever it is."""
        self.kills += self._end()

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return self._pid != 0

    @property
    def deaths(self) -> Counter[str]:
        """How often it died at which step."""
        return Counter(self._told.read_text().split())

    def _end(self) -> bool:
        with contextlib.suppress(ProcessLookupError):
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
                return True
        return False


class Nemesis:
    """Harm the service and its way to Vault, one after the other, by a schedule that its seed decides.

    `done_so_far` counts what has succeeded: some more has to before each harm, which is to meet work under way.
    """

    def __init__(
        self, lives: Lives, wire: Wire, bao: Any, seed: int, *, done_so_far: Callable[[], int], restarts: bool
    ) -> None:
        self._lives, self._wire, self._bao, self._done_so_far = lives, wire, bao, done_so_far
        self._random = random.Random(f"nemesis {seed}")
        self.done = Counter[str]()
        self._harms = [self._kill, self._kill, self._hole, self._refuse, self._delay, self._cut, self._nothing]
        self._harms += [self._restart_vault] if restarts else []

    async def torment(self, enough: Callable[[], bool]) -> None:
        """Go on until it is enough; leave a service that lives and a wire that lets everything pass."""
        while not enough():
            if not self._lives.alive:
                self._lives.begin(self._random.choice(STEPS), self._random.randint(1, 2))
            await self._some_work()
            harm = self._random.choice(self._harms)
            await harm()
            self.done[harm.__name__.strip("_")] += 1
            self._wire.heal()
        self._lives.kill()
        while self._lives.alive:  # what dies still has its ports, and nobody would begin another life
            await asyncio.sleep(0.01)
        self._lives.begin()

    async def _some_work(self) -> None:
        """Wait until work goes on again, or this life has ended before it did."""
        goal = self._done_so_far() + self._random.randint(5, 25)
        while self._done_so_far() < goal and self._lives.alive:
            await asyncio.sleep(0.02)

    async def _nothing(self) -> None:
        """Let work go on, perhaps to the step at which this life ends."""
        await asyncio.sleep(self._random.uniform(0.3, 1.0))

    async def _kill(self) -> None:
        self._lives.kill()

    async def _hole(self) -> None:
        self._wire.hole = lambda _: True
        await asyncio.sleep(self._random.choice([0.2, 1.0, 2.0]))

    async def _refuse(self) -> None:
        self._wire.refusing = True
        await asyncio.sleep(self._random.uniform(0.1, 1.0))

    async def _delay(self) -> None:
        self._wire.delay_s = self._random.uniform(0.01, 0.2)
        await asyncio.sleep(self._random.uniform(0.5, 1.5))

    async def _cut(self) -> None:
        self._wire.cut_after = self._random.randrange(5000)
        await asyncio.sleep(self._random.uniform(0.1, 0.5))

    async def _restart_vault(self) -> None:
        self._bao.kill()
        self._bao.start()
