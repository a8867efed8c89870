"""The key pair with which the gateway signs grants and commands: kept once, its public half handed to who must check.

Only the private half is stored and the public one derived from it, so that the two can never disagree.
"""

from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from wattfleet_tenants.grants import generate_signing_keys

from wattfleet_operator.ports import Vault

PRIVATE = "signing/private.pem"
PUBLIC = "signing/public.pem"


async def ensure_signing_keys(vault: Vault) -> str:
    """Both halves are in the vault. Returns the public one (PEM)."""
    private_pem = await vault.keep(PRIVATE, lambda: generate_signing_keys().private_pem)
    public_pem = _public_half(private_pem)
    if await vault.keep(PUBLIC, lambda: public_pem) != public_pem:
        await vault.replace(PUBLIC, public_pem)
    return public_pem


@cache
def _public_half(private_pem: str) -> str:
    """Derived once: every household that is looked at gets it."""
    public_key = load_pem_private_key(private_pem.encode(), password=None).public_key()
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
