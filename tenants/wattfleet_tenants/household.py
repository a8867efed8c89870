"""A household is a tenant: one home, one id, one set of series.

The id is a NATS subject token, a label value and a resource name at once, so it is minted by us and never contains
anything that one of the three could read as syntax (a household named `*` once had rights over everybody). It is
checked wherever it enters, with `parse_household_id`.
"""

import re
import secrets
from typing import NewType

HouseholdId = NewType("HouseholdId", str)

HOUSEHOLD_ID_PATTERN = r"^h[0-9a-z]{16,26}$"
_HOUSEHOLD_ID = re.compile(r"h[0-9a-z]{16,26}")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
# 36^20 is 103 bits: ids of different cells never meet, and nobody guesses one.
_RANDOM_CHARACTERS = 20


def parse_household_id(text: str) -> HouseholdId:
    """The household id that `text` is; raises ValueError when it does not have the form of one."""
    if not _HOUSEHOLD_ID.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a household id: it must match {HOUSEHOLD_ID_PATTERN}")
    return HouseholdId(text)


def mint_household_id() -> HouseholdId:
    """A new, unguessable, globally unique household id."""
    return HouseholdId("h" + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS)))
