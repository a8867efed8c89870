"""What every part of Wattfleet talks about, and the data plane of a shard.

Nouns (`household`, `shard`, `socket`, `reading`) and names (`subjects`, `series`, `credentials`, `grants`) do no
input or output. `ports` says what is needed, `adapters/` do it, `writer/` and `reader/` are the two processes.
"""
