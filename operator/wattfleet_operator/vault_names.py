"""What the vault calls each credential. A name is a path: its folder is a folder on one machine, a Secret in a cluster.

Everything in a shard's folder is its own processes'; in `edge` lies what the gateway needs, and nothing else.
"""

from wattfleet_tenants.shard import ShardId


def shard_folder(shard: ShardId) -> str:
    """The folder of a shard's own keys and credentials."""
    return f"shards/{shard}"


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


def secret_of(name: str) -> tuple[str, str]:
    """In which Secret a cluster's vault keeps `name`, and under which key."""
    folder, _, key = name.rpartition("/")
    return f"wattfleet-{folder.replace('/', '-')}", key
