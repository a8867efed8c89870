"""The write service of a shard: from the broker, through the checks, into the store."""
