"""The read service of a shard: answers the gateway's questions about one household at a time."""
