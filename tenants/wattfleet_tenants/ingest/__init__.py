"""The ingest: takes the messages of a shard's homes, packs them into bundles, answers when a bundle is on disk."""
