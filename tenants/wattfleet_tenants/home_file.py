"""The home file is all that an agent needs to know: who it is, where to send, with what credential.

The operator writes it when a household is born; in a cluster it is the content of the household's Secret. It holds a
private key, so it is readable by its owner only, and its text never goes to a log.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from wattfleet_tenants.household import HouseholdId, parse_household_id
from wattfleet_tenants.reading import INTERVAL_MS
from wattfleet_tenants.shard import ShardId, parse_shard_id


@dataclass(frozen=True, slots=True)
class HomeFile:
    """servers: NATS URLs. credentials: text of a NATS .creds file. command_key: PEM of the key that signs commands.

    send_phase_ms: how long after a minute's end the home sends it, 0 to 59,999.
    """

    household: HouseholdId
    shard: ShardId
    servers: tuple[str, ...]
    credentials: str
    command_key: str
    send_phase_ms: int = 0

    def __repr__(self) -> str:
        return f"HomeFile(household={self.household!r}, shard={self.shard!r}, servers={self.servers!r})"


def home_text(home: HomeFile) -> str:
    """What stands in the home file."""
    return json.dumps(asdict(home), indent=2)


def parse_home(text: str | bytes, where: str) -> HomeFile:
    """The home that a home file's text describes; raises ValueError naming `where` and the field that is wrong."""
    try:
        fields = json.loads(text)
        household = parse_household_id(fields["household"])
        return HomeFile(
            household,
            parse_shard_id(fields["shard"]),
            tuple(fields["servers"]),
            _text(fields, "credentials"),
            _text(fields, "command_key"),
            _send_phase_ms(fields, household),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{where} is not a home file: field {error} is missing or wrong") from error


def read_home_file(path: Path) -> HomeFile:
    """The home file at `path`; raises OSError when it cannot be read, ValueError naming the field when it is wrong."""
    return parse_home(path.read_text(), str(path))


def write_home_file(path: Path, home: HomeFile) -> None:
    """Writes the home file for its owner's eyes only (mode 0600), whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(home_text(home))
    partial.replace(path)


def _text(fields: dict[str, object], name: str) -> str:
    text = fields[name]
    if not isinstance(text, str):
        raise TypeError(repr(name))
    return text


def _send_phase_ms(fields: dict[str, object], household: HouseholdId) -> int:
    """What the file says; a platform that said nothing left it to chance, the same at each reading."""
    if "send_phase_ms" not in fields:
        return int.from_bytes(hashlib.sha256(household.encode()).digest()[:8]) % INTERVAL_MS
    phase_ms = fields["send_phase_ms"]
    if type(phase_ms) is not int or phase_ms not in range(INTERVAL_MS):
        raise TypeError("'send_phase_ms'")
    return phase_ms
