"""Grants and commands: signed, short-lived, for one household and one audience."""

import time

import jwt
import pytest
from wattfleet_tenants.grants import NotGranted, generate_signing_keys, sign, verify
from wattfleet_tenants.household import HouseholdId

ALICE = HouseholdId("haaaaaaaaaaaaaaaaaaaa")
BOB = HouseholdId("hbbbbbbbbbbbbbbbbbbbb")
KEYS = generate_signing_keys()


def test_a_grant_opens_its_household() -> None:
    granted = verify(KEYS.public_pem, "reader", ALICE, sign(KEYS.private_pem, "reader", ALICE, 30))
    assert granted.household == ALICE
    assert 25 < granted.expires_at_s - time.time() <= 30


def test_two_grants_have_two_nonces() -> None:
    nonces = {verify(KEYS.public_pem, "agent", ALICE, sign(KEYS.private_pem, "agent", ALICE, 30)).nonce for _ in "ab"}
    assert len(nonces) == 2


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(sign(KEYS.private_pem, "reader", BOB, 30), id="another household's"),
        pytest.param(sign(KEYS.private_pem, "agent", ALICE, 30), id="another audience's"),
        pytest.param(sign(KEYS.private_pem, "reader", ALICE, 30, clock=lambda: 1_000_000.0), id="expired"),
        pytest.param(sign(generate_signing_keys().private_pem, "reader", ALICE, 30), id="another key's"),
        pytest.param(sign(KEYS.private_pem, "reader", HouseholdId("*"), 30), id="for what is no household"),
        pytest.param(jwt.encode({"aud": "reader", "sub": ALICE}, None, algorithm="none"), id="unsigned"),
        pytest.param(jwt.encode({"aud": "reader", "sub": ALICE}, KEYS.private_pem, algorithm="EdDSA"), id="for ever"),
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="nonsense"),
    ],
)
def test_anything_else_opens_nothing(token: str) -> None:
    with pytest.raises(NotGranted):
        verify(KEYS.public_pem, "reader", ALICE, token)
