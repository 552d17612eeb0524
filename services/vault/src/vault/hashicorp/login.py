"""Own the logins: a signed assertion of one minute becomes a short-lived Vault token, one for each identity.

hvac makes the calls, in threads, with one client for one use. Tokens live in memory only and are never logged.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Final

import hvac
import requests
from common import logs, tracing
from common.clock import Clock
from common.errors import Internal, PermissionDenied, StrongroomError
from common.ids import TENANT_ID
from common.secret import Secret
from hvac.exceptions import Forbidden, InvalidRequest, VaultError
from joserfc import jwt
from joserfc.jwk import ECKey

from vault.hashicorp import measures
from vault.hashicorp.pace import Pace
from vault.store import unavailable

AUDIENCE: Final = "strongroom-vault"
BATCH: Final = "batch"
ASSERTION_LIFE_S: Final = 60
BACKDATED_S: Final = 5  # the server's clock may be a little behind ours
RENEW_AT: Final = 2 / 3
LOGIN_PAUSE_S: Final = 1.0  # a failing or useless login is tried once a second, not once a call
# Tokens live five minutes. A login within a minute of the last one should not have been needed.
OFTEN_S: Final = 60.0
TIMEOUT: Final = (1, 5)  # connect, read
IDENTITIES: Final = 4096


@dataclass(frozen=True, slots=True)
class Connection:
    """Where Vault is, one address or several with commas, and the authority of its certificate (None: the system's)."""

    url: str
    ca_file: Path | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """Each address, without a slash at the end."""
        return tuple(url.rstrip("/") for url in self.url.split(","))


@dataclass(frozen=True, slots=True)
class Role:
    """One identity at Vault: a role of the JWT auth method, and the subject that logs in by it."""

    name: str
    subject: str


SERVICE: Final = Role("strongroom-service", "strongroom-service")
RECONCILER: Final = Role("strongroom-reconciler", "strongroom-reconciler")
TENANT: Final = "strongroom-tenant"
SIGNER: Final = "strongroom-signer"


def tenant_role(tenant: str) -> Role:
    """Return the identity that keeps one tenant's documents and keys: the role of all, and a subject of its own.

    Vault opens the paths that begin with the subject. Raises Internal for what is no tenant id: a pattern among them
    was once a wildcard.
    """
    return Role(TENANT, _checked(tenant))


def signer_role(tenant: str) -> Role:
    """Return the identity that signs for one tenant: it reads and signs, and changes nothing. Raises Internal."""
    return Role(SIGNER, _checked(tenant))


def _checked(tenant: str) -> str:
    if not TENANT_ID.fullmatch(tenant):
        raise Internal("tenant_id")
    return tenant


def admin_client(connection: Connection, token: Secret | None = None) -> hvac.Client:
    """Return an hvac client that follows no redirect and reads nothing from the environment; close its adapter.

    It talks to the first address that answers as the active node, for there is one call after another to come.
    """
    session = requests.Session()
    session.trust_env = False
    session.verify = str(connection.ca_file) if connection.ca_file else True
    first, *others = connection.urls
    url = next((url for url in (first, *others) if others and _active(session, url)), first)
    plain = token.reveal() if token else ""
    return hvac.Client(url, token=plain, timeout=TIMEOUT, allow_redirects=False, session=session)


def _active(session: requests.Session, url: str) -> bool:
    try:
        return session.get(f"{url}/v1/sys/health", timeout=TIMEOUT, allow_redirects=False).ok
    except requests.RequestException:
        return False


@dataclass(slots=True)
class _Entry:
    """What is known of one identity; times are monotonic seconds.

    `refused` says that Vault answered the last login with a no, `replaced` that the token in use took the place of one
    that Vault had refused: another such login brings nothing new.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: Secret | None = None
    refused: bool = False
    replaced: bool = False
    born_at: float = float("-inf")
    renew_at: float = 0.0
    expires_at: float = 0.0
    failed_at: float = float("-inf")
    failure: StrongroomError | None = None


class NoAnswer(Exception):
    """A login that nobody said yes or no to."""


class Logins:
    """Keep one token for each identity: single flight, renewed by a new login at two thirds of its life.

    First logins and those of tokens that lived their time are made as they come. What has to log in again, because it
    was refused or its token was, takes turns with all the others of this process: one login a second.
    """

    def __init__(self, connection: Connection, key_file: Path, clock: Clock) -> None:
        self._connection = connection
        self._key = ECKey.import_key(key_file.read_bytes())
        self._clock = clock
        self._entries: dict[Role, _Entry] = {}
        self._pace = Pace(sum(TIMEOUT))
        measures.TOKEN_LIFE.set_function(self._life)

    async def token(self, role: Role) -> Secret:
        """Return a token of `role`; raise PermissionDenied when Vault has no such role, Unavailable otherwise."""
        entry = self._entries.get(role) or self._new(role)
        if entry.token and self._clock.monotonic() < entry.renew_at:
            return entry.token
        async with entry.lock:
            now = self._clock.monotonic()
            if entry.token and now < entry.renew_at:
                return entry.token
            again = entry.refused or now < entry.born_at + OFTEN_S
            if now >= entry.failed_at + LOGIN_PAUSE_S and self._pace.admits(role, now, again=again):
                await self._renew(role, entry)
        if entry.token and self._clock.monotonic() < entry.expires_at:
            return entry.token
        failure = entry.failure or unavailable()
        raise type(failure)(failure.reason, failure.detail, retry_after=failure.retry_after)

    async def replace(self, role: Role, token: Secret) -> bool:
        """Replace a token that Vault refused; return whether another try makes sense.

        The first such login is made at once. When Vault refuses its token too, it is not the token that is wrong.
        """
        entry = self._entries.get(role)
        if entry is None:
            return True
        async with entry.lock:
            if entry.token is not token:
                return True
            now, again = self._clock.monotonic(), entry.refused or entry.replaced
            if now < max(entry.born_at, entry.failed_at) + LOGIN_PAUSE_S:
                return False
            if not self._pace.admits(role, now, again=again):
                return False
            await self._renew(role, entry, replacing=True)
            return entry.token is not token

    def _new(self, role: Role) -> _Entry:
        """Make the entry of an identity; what is known of those without a token is given up when it gets too much."""
        if len(self._entries) >= IDENTITIES:
            idle = [name for name, known in self._entries.items() if not known.token and not known.lock.locked()]
            for name in idle:
                del self._entries[name]
        entry = self._entries[role] = _Entry()
        return entry

    async def _renew(self, role: Role, entry: _Entry, *, replacing: bool = False) -> None:
        now = self._clock.monotonic()
        try:
            token, lease = await self._paced(role, entry)
        except StrongroomError as error:
            entry.failure, entry.failed_at = error, now
            logs.get().warning("vault_login_failed", role=role.name, reason=error.reason)
            return
        if entry.refused:  # what all of this role were refused for has ended
            for known in self._of(role.name):
                known.refused = False
        entry.replaced = replacing or (entry.replaced and now < entry.born_at + OFTEN_S)
        entry.token, entry.born_at, entry.failure = token, now, None
        entry.renew_at, entry.expires_at = now + lease * RENEW_AT, now + lease

    async def _paced(self, role: Role, entry: _Entry) -> tuple[Secret, int]:
        """Log in and tell the pace how that ended."""
        answered: bool | None = None
        ended = "unanswered"
        try:
            with tracing.span("vault login", "client", operation="login"):
                made = await asyncio.to_thread(self._login, role)
        except NoAnswer:
            answered = False
            raise unavailable() from None
        except StrongroomError:
            answered = entry.refused = True
            ended = "refused"
            raise
        else:
            answered, ended = True, "done"
            return made
        finally:
            measures.LOGINS.of(ended).inc()
            self._pace.ended(self._clock.monotonic(), answered=answered)

    def _life(self) -> float:
        """Return for how many seconds the service's own token is still good."""
        entry = self._entries.get(SERVICE)
        return max(0.0, entry.expires_at - self._clock.monotonic()) if entry and entry.token else 0.0

    def _of(self, name: str) -> list[_Entry]:
        return [entry for role, entry in self._entries.items() if role.name == name]

    def _login(self, role: Role) -> tuple[Secret, int]:
        client = admin_client(self._connection)
        try:
            answer = client.auth.jwt.jwt_login(role.name, self._assertion(role), use_token=False)
            auth = answer["auth"]
            if auth["token_type"] != BATCH or "root" in auth["policies"]:
                raise PermissionDenied("unsafe_token", f"Vault's token for {role.name} is root, or no batch token.")
            return Secret(auth["client_token"]), int(auth["lease_duration"])
        except (InvalidRequest, Forbidden) as error:
            if any("could not be found" in str(text) for text in error.errors or ()):
                raise PermissionDenied("not_provisioned", "This identity is not known to the key vault.") from None
            raise unavailable("vault_login_refused") from None  # for example while a clock is wrong
        except (VaultError, requests.RequestException, KeyError, TypeError, ValueError):
            raise NoAnswer from None
        finally:
            client.adapter.close()

    def _assertion(self, role: Role) -> str:
        now = int(self._clock.unix())
        claims = {
            "iss": AUDIENCE,
            "aud": AUDIENCE,
            "sub": role.subject,
            "iat": now - BACKDATED_S,
            "nbf": now - BACKDATED_S,
            "exp": now + ASSERTION_LIFE_S,
            "jti": token_hex(16),
        }
        return jwt.encode({"alg": "ES256"}, claims, self._key, algorithms=["ES256"])
