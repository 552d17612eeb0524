"""Own the rules of a sealed bind: a ciphertext serves one binding of one tenant, and its key is its own.

A wrapped secret cannot be tested against the key that Transit holds. So, before the import, the ciphertext is claimed
for the binding across all tenants, and the binding's slot for the ciphertext: a key under this id then came from it.
"""

from typing import Final

from common.errors import IdempotencyMismatch, InvalidArgument

from vault.records import Records, Slot
from vault.store import Keys, OwnDocuments, Why, put_own
from vault.wrapped import FIELD, FINGERPRINT_FIELD, USED, SealedSecret

NOBODY: Final = {"holder": ""}
OTHER_KEY: Final = (
    "This was made for another wrapping key: fetch the present one from GET /v1/exchanges/bitget and encrypt anew."
)
UNREADABLE: Final = (
    "This cannot be decrypted: it was made for another wrapping key, in another way, or was cut. Fetch the wrapping "
    "key from GET /v1/exchanges/bitget and encrypt the secret anew."
)
NOT_A_KEY: Final = (
    "What is inside is no secret key of this key_type: for hmac the text of 32 to 512 bytes, for rsa PKCS#8 in DER."
)


class Sealing:
    """Claim ciphertexts for bindings, and give them back when they turn out to be none."""

    def __init__(self, own: OwnDocuments, records: Records, keys: Keys) -> None:
        self._own = own
        self._records = records
        self._keys = keys

    async def made_for(self, secret: SealedSecret) -> None:
        """Raise InvalidArgument for a ciphertext that names another wrapping key than the present one."""
        if secret.made_for and secret.made_for != (await self._keys.wrapping_key()).fingerprint:
            raise InvalidArgument("wrapping_key_changed", OTHER_KEY, field=FINGERPRINT_FIELD)

    async def take(self, tenant: str, name: str, digest: str, slot: Slot) -> Slot:
        """Claim the ciphertext of keyed digest `digest`, then the slot; return the slot as it is then.

        Raises InvalidArgument for a ciphertext of any other binding, Unavailable when somebody else has the slot.
        """
        await self.claim(tenant, name, digest)
        if slot.sealed == digest:
            return slot
        return await self._records.seal(tenant, name, digest, cas=slot.version)

    async def give_back(self, tenant: str, name: str, digest: str, slot: Slot) -> None:
        """Free slot and ciphertext after a refusal. Raises Unavailable; what stays claimed is for this binding only."""
        if not digest:
            return
        if slot.sealed == digest:
            await self._records.mark(tenant, name, sweeping=False, cas=slot.version)
        found = await self._own.read("sealed", digest)
        if found and found.data == {"holder": f"{tenant}.{name}"}:
            await put_own(self._own, "sealed", digest, NOBODY, cas=found.version)

    async def claim(self, tenant: str, name: str, digest: str) -> None:
        """Claim the ciphertext for a binding; raise InvalidArgument when it is any other's."""
        holder, cas = f"{tenant}.{name}", 0
        while await put_own(self._own, "sealed", digest, {"holder": holder}, cas=cas) is None:
            found = await self._own.read("sealed", digest)
            of = found.data["holder"] if found and found.data else ""
            if of == holder:
                return
            if of:  # of another binding or tenant: told alike
                raise InvalidArgument("wrapped_secret_used", USED, field=FIELD)
            cas = found.version if found else 0


def check_slot(slot: Slot, digest: str, *, has_key: bool) -> None:
    """Raise IdempotencyMismatch when an unfinished bind under this id brought another secret.

    `digest` is that of the ciphertext asked for, empty in a plain bind; `has_key` was found before `slot` was read.
    """
    if slot.sealed not in ("", digest) or (has_key and not slot.sealed):
        raise IdempotencyMismatch()


def refusal(why: Why) -> InvalidArgument | None:
    """Return the error for a ciphertext that Vault refused for what it is, or None for any other refusal."""
    if why is Why.UNREADABLE:
        return InvalidArgument("wrapped_secret_unreadable", UNREADABLE, field=FIELD)
    if why is Why.INVALID:
        return InvalidArgument("wrapped_secret_no_key", NOT_A_KEY, field=FIELD)
    return None
