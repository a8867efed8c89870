"""What the vault calls each credential. A name is a path: its folder is a folder on one machine, a Secret in a cluster.

Everything in a shard's folder is its own processes'; in `edge` lies what the gateway needs, and nothing else.
"""

from wattfleet_tenants.shard import ShardId


def shard_folder(shard: ShardId) -> str:
    """The folder of a shard's own keys and credentials."""
    return f"shards/{shard}"


def identity(shard: ShardId, role: str) -> str:
    """The seed of one of a shard's identities: edge, ing, households."""
    return f"{shard_folder(shard)}/{role}.seed"


def revocations(shard: ShardId) -> str:
    """Which of a shard's credentials are revoked."""
    return f"{shard_folder(shard)}/revocations.json"


def ingest_credential(shard: ShardId) -> str:
    """With it a shard's ingest connects to its streams."""
    return f"{shard_folder(shard)}/ingest.creds"


def ingest_edge_credential(shard: ShardId) -> str:
    """With it a shard's ingest connects to its EDGE account."""
    return f"{shard_folder(shard)}/ingest-edge.creds"


def writer_credential(shard: ShardId) -> str:
    """With it a shard's writers connect."""
    return f"{shard_folder(shard)}/writer.creds"


def reader_credential(shard: ShardId) -> str:
    """With it a shard's readers connect."""
    return f"{shard_folder(shard)}/reader.creds"


def gateway_credential(shard: ShardId) -> str:
    """With it the gateway connects to a shard's EDGE account."""
    return f"edge/{shard}.creds"


def all_of(shard: ShardId) -> tuple[str, ...]:
    """Everything that the vault keeps of a shard."""
    credentials = (ingest_credential, ingest_edge_credential, writer_credential, reader_credential, gateway_credential)
    identities = (identity(shard, role) for role in ("edge", "ing", "households"))
    return (*(name(shard) for name in credentials), revocations(shard), *identities)


def secret_of(name: str) -> tuple[str, str]:
    """In which Secret a cluster's vault keeps `name`, and under which key."""
    folder, _, key = name.rpartition("/")
    return f"wattfleet-{folder.replace('/', '-')}", key
